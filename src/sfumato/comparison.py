"""One prompt with several values of its fields, and the contact sheet of what came out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sfumato.pictures import files
from sfumato.request import Request, seeds
from sfumato.request.grids import Axis, axes_of, cells, sheet

if TYPE_CHECKING:
    from sfumato.picture import Picture
    from sfumato.stable_diffusion import StableDiffusion


@dataclass(frozen=True, eq=False)
class Comparison:
    """The pictures of a grid.

    Attributes:
        axes: the fields that differ; the first has the columns of the sheet, the others its rows.
        pictures: row by row.
        title: the prompt.
    """

    axes: tuple[Axis, ...]
    pictures: list[Picture]
    title: str = ""

    def sheet(self, size: int | None = None) -> np.ndarray:
        """The contact sheet, uint8 (H, W, 3); `size` is the most pixels of a picture's side."""
        return sheet(self.axes, self.pictures, self.title, size)

    def save(self, path: str | Path, size: int | None = None) -> Path:
        """Write the contact sheet; see `pictures.save`."""
        return files.save(path, self.sheet(size))

    def _repr_png_(self) -> bytes:
        """The PNG file that a notebook shows."""
        return files.encode(self.sheet())


def compare(
    model: StableDiffusion,
    request: str | Request,
    grid: Mapping[str, Iterable[Any]],
    **fields: Any,
) -> Comparison:
    """Make a picture for each combination of values, from one seed.

    Args:
        model: makes them.
        request: the words, or a whole request.
        grid: up to three fields of ``Request`` with their values. Of `prompt` and
            `negative_prompt` the first value is a part of the text, which each value replaces.
        fields: of ``Request``, as in ``StableDiffusion.generate``.

    Raises:
        RequestError: a field or a value cannot be.

    Example:
        >>> import sfumato
        >>> model = sfumato.load("mini")
        >>> made = compare(model, "a red apple", {"steps": [1, 2], "prompt": ["red", "green"]})
        >>> [(picture.request.steps, picture.request.prompt) for picture in made.pictures]
        [(1, 'a red apple'), (2, 'a red apple'), (1, 'a green apple'), (2, 'a green apple')]
        >>> made.sheet().shape[2]
        3
    """
    if not isinstance(request, Request):
        request = Request(prompt=request)
    request, drawn = request.changed(**fields), seeds.draw()
    axes = axes_of(grid.items())
    seeded = [cell.with_defaults(**seeds.chosen(cell, drawn)) for cell in cells(request, axes)]
    made = [picture for cell in seeded for picture in model.generate(cell)]
    return Comparison(axes, made, request.prompt)
