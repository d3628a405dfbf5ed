"""Sizes as the command line takes them: `512x768`, or a word for a shape."""

from __future__ import annotations

import math
import re

from sfumato._numbers import MAX_PIXELS

# Width and height relative to the model's own square, at the same number of pixels.
RATIOS = {
    "square": (1.0, 1.0),
    "portrait": (math.sqrt(2 / 3), math.sqrt(3 / 2)),
    "landscape": (math.sqrt(3 / 2), math.sqrt(2 / 3)),
}


def read_size(text: str) -> tuple[int, int] | str:
    """(width, height), or one of `RATIOS`; ValueError if the text is neither."""
    if text in RATIOS:
        return text
    size = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)
    if size is None:
        raise ValueError(f"must be WIDTHxHEIGHT or {', '.join(RATIOS)}. Received: {text}")
    width, height = int(size[1]), int(size[2])
    if width % 8 or height % 8 or not width or not height:
        raise ValueError(f"must be multiples of 8. Received: {text}")
    if width * height > MAX_PIXELS:
        raise ValueError(f"must have at most {MAX_PIXELS} pixels. Received: {text}")
    return width, height


def shaped(word: str, side: int) -> tuple[int, int]:
    """(width, height) of a word of `RATIOS` for a model whose own pictures are `side` square.

    Small models go in steps of 8 pixels, the others in steps of 64, which all of them like best.
    """
    grain = 64 if side >= 512 else 8
    width, height = (max(1, round(side * ratio / grain)) * grain for ratio in RATIOS[word])
    return width, height
