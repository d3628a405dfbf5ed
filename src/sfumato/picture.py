"""A picture that was made, and what it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from sfumato.pictures import files
from sfumato.request import Request

if TYPE_CHECKING:
    from sfumato.presets import Preset


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture.

    Attributes:
        pixels: uint8 (H, W, 3).
        request: completed, for this picture alone, with its own seed.
        flags: what a user should know of it, in words.
    """

    pixels: np.ndarray
    request: Request
    flags: tuple[str, ...] = ()

    def save(self, path: str | Path, quality: int = 95, *, recipe: bool = True) -> Path:
        """Write the picture with its recipe; see `pictures.save`."""
        text = self.request.recipe() if recipe else None
        return files.save(path, self.pixels, text, quality)

    def to_pil(self) -> Image.Image:
        """The picture as one of Pillow's."""
        return Image.fromarray(self.pixels)

    def _repr_png_(self) -> bytes:
        """The PNG file that a notebook shows."""
        return files.encode(self.pixels, "png", self.request.recipe())


def flags_of(request: Request, preset: Preset) -> tuple[str, ...]:
    """What a user should know of a picture: the words that the model has not learnt."""
    known = preset.known_words
    if known is None:
        return ()
    from sfumato.text.known import unknown_words
    from sfumato.text.wording import wordings

    negative = request.negative_prompt or ""
    steps = wordings(request.prompt, negative, request.steps or 1, request.prompt_syntax)
    texts = (text for words in steps for text in words.read(request.is_guided))
    emphasis = "none" if request.prompt_syntax == "plain" else request.emphasis
    unknown = ", ".join(unknown_words(texts, known, emphasis))
    message = f"{preset.name} has not learnt: {unknown} ({preset.page} lists what it draws)"
    return (message,) if unknown else ()
