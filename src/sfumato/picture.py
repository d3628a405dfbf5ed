"""A picture that was made, and what it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sfumato.pictures import files
from sfumato.request import Request


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
