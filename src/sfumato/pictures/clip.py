"""Pictures as CLIP's encoders see them."""

from __future__ import annotations

import numpy as np
from PIL import Image

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
LONGEST = 16
"""How many times longer than the other a side may be before its ends are cut off."""


def as_seen(pixels: np.ndarray, size: int) -> np.ndarray:
    """The square in the middle of a picture, uint8 (H, W, 3) -> normalised, (1, size, size, 3).

    As the CLIPImageProcessor of transformers makes it with Pillow: the short side becomes ``size``.
    """
    most = LONGEST * min(pixels.shape[:2])  # a strip would become a huge picture
    pixels = middle(pixels, most, most)
    H, W, _ = pixels.shape
    height, width = (int(size * side / min(H, W)) for side in (H, W))
    small = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    x = middle(np.asarray(small), size, size) / 255.0
    return ((x - MEAN) / STD).astype("float32")[None]


def middle(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of a picture (H, W, C), of up to this size."""
    top, left = (
        max(0, n - most) // 2 for n, most in zip(pixels.shape, (height, width), strict=False)
    )
    return pixels[top : top + height, left : left + width]
