"""Grids: one request with each combination of some values of its fields, to compare pictures."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from itertools import product
from typing import TYPE_CHECKING, Any

from sfumato.request.fields import RequestError, read, specs
from sfumato.request.request import Request
from sfumato.request.words import TEMPLATES

if TYPE_CHECKING:
    import numpy as np

MOST_AXES = 3
NO_AXES = ("count", *TEMPLATES.values())


@dataclass(frozen=True)
class Axis:
    """A field and the values that it takes in a grid.

    Of `prompt` and `negative_prompt` the first value is a part of the text, which each value
    replaces, as in A1111.

    Attributes:
        name: of the field.
        values: at least one; None leaves the choice to the model.

    Raises:
        RequestError: there is no such field, or it makes no axis, or there are no values.
    """

    name: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        specs(Request, {self.name: None})
        if self.name in NO_AXES:
            raise RequestError("grid", f"have another field than `{self.name}`", self.name)
        if not self.values:
            raise RequestError(self.name, "have values in a grid", "none")

    @classmethod
    def read(cls, text: str) -> Axis:
        """The axis that a text states: "steps=10,20,30"; a value with a comma has quotes."""
        name, equals, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not values.strip():
            raise RequestError("grid", "be FIELD=VALUE,VALUE such as steps=10,20,30", text)
        spec = specs(Request, {name: None})[name]
        (texts,) = csv.reader([values], skipinitialspace=True)
        return cls(name, tuple(read(name, spec, each.strip()) for each in texts))

    @property
    def labels(self) -> list[str]:
        """A text for each value."""
        title = self.name.replace("_", " ")
        return [f"{title} {self._written(i, value)}" for i, value in enumerate(self.values, 1)]

    def _written(self, place: int, value: Any) -> str:
        if hasattr(value, "shape"):  # a picture
            return str(place)
        with suppress(ValueError, TypeError):
            return "-" if value is None else specs(Request)[self.name].kind.write(value)
        return str(value)

    def changed(self, request: Request, value: Any) -> Request:
        """The request with this value of the axis."""
        if self.name not in TEMPLATES:
            return request.changed(**{self.name: value})
        text, part = getattr(request, self.name) or "", self.values[0]
        if part not in text:
            raise RequestError(self.name, f"have the first value of its axis, {part!r}", repr(text))
        return request.changed(**{self.name: text.replace(part, value or "")})


def axes_of(values: Iterable[tuple[str, Iterable[Any]]]) -> tuple[Axis, ...]:
    """The axes of a grid, by name and values."""
    return checked_axes(Axis(name, tuple(each)) for name, each in values)


def checked_axes(axes: Iterable[Axis]) -> tuple[Axis, ...]:
    """Axes that make a grid; RequestError if there are too many, or a field has two."""
    axes = tuple(axes)
    names = [axis.name for axis in axes]
    if len(axes) > MOST_AXES:
        raise RequestError("grid", f"have at most {MOST_AXES} fields", ", ".join(names))
    if twice := [n for n in names if names.count(n) > 1 and n not in TEMPLATES]:
        raise RequestError("grid", "have each field once", ", ".join(twice))
    return axes


def cells(request: Request, axes: Sequence[Axis]) -> list[Request]:
    """The request of each combination: the first axis is the fastest, as columns are in a row.

    Raises:
        RequestError: a value is out of its range, or there are several pictures of each.
    """
    if axes and request.count != 1:
        must = "be 1 in a grid, where an axis of seeds has more pictures"
        raise RequestError.of("count", must, request.count)

    def with_values(values: tuple[Any, ...]) -> Request:
        pairs = zip(axes, values[::-1], strict=True)
        return reduce(lambda made, pair: pair[0].changed(made, pair[1]), pairs, request)

    return [with_values(values) for values in product(*(axis.values for axis in axes[::-1]))]


def sheet(
    axes: Sequence[Axis], pictures: Sequence[Any], title: str = "", size: int | None = None
) -> np.ndarray:
    """The contact sheet of the pictures of `cells`, with the values at its edges.

    The first axis has the columns, the others have the rows.
    """
    from sfumato.pictures.sheets import contact_sheet

    columns, *others = (axis.labels for axis in axes)
    rows = [", ".join(row[::-1]) for row in product(*others[::-1])] if others else []
    labels = {"column_labels": columns, "row_labels": rows}
    return contact_sheet(pictures, len(columns), **labels, title=title, size=size)
