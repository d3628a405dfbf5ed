"""The pictures that ControlNets are shown, made of others without a network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from sfumato.pictures.edges import canny

BLUR = 9  # pixels, as A1111's ControlNet extension has it


def as_it_is(pixels: np.ndarray) -> np.ndarray:
    return pixels


def inverted(pixels: np.ndarray) -> np.ndarray:
    return 255 - pixels


def blurred(pixels: np.ndarray) -> np.ndarray:
    return np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(BLUR)))


def grey(pixels: np.ndarray) -> np.ndarray:
    """The luma of a picture, in three equal channels."""
    return np.array(Image.fromarray(pixels).convert("L").convert("RGB"))


def lightness(pixels: np.ndarray) -> np.ndarray:
    """L of CIELAB, 0..100 as 0..255, in three equal channels: what a picture is coloured by."""
    x = pixels / 255
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    found = np.where(y > 216 / 24389, 116 * np.cbrt(y) - 16, y * 24389 / 27)
    return np.repeat(np.rint(found * 2.55).astype(np.uint8)[..., None], 3, axis=-1)


def threshold(pixels: np.ndarray) -> np.ndarray:
    """White where no channel is dark."""
    white = pixels.min(axis=-1, keepdims=True) > 127
    return np.repeat(white, 3, axis=-1).astype(np.uint8) * np.uint8(255)


def edges(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(canny(pixels)[..., None], 3, axis=-1)


PREPROCESSORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": as_it_is,
    "canny": edges,
    "invert": inverted,
    "grey": grey,
    "recolour": lightness,
    "blur": blurred,
    "tile": as_it_is,
    "threshold": threshold,
    "inpaint": as_it_is,  # what is masked is hidden afterwards
}
"""Of uint8 (H, W, 3) to the same."""


def as_hint(pixels: np.ndarray, name: str, mask: np.ndarray | None = None) -> np.ndarray:
    """The picture for a ControlNet, float32 (H, W, 3) of 0..1.

    Args:
        pixels: uint8 (H, W, 3).
        name: of one of the `PREPROCESSORS`.
        mask: uint8 (H, W), for "inpaint": what is masked becomes -1.
    """
    hint = PREPROCESSORS[name](pixels).astype("float32") / np.float32(255)
    return hint if mask is None else np.where(mask[..., None] > 127, np.float32(-1), hint)
