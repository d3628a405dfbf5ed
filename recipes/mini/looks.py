"""Looks that are made from flat drawings: one thing in another technique, in the same shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

INK = (22, 22, 26)
SQUARES = 32  # of pixel art, along one side of the picture
FAINT, STRONG = 14, 54  # differences of neighbouring colours at which a line begins, and is black
THIN = 128  # lines are thickened by this part of the drawing's height, on every side
BASE = "flat drawing"


def line_drawing(rgba: np.ndarray) -> np.ndarray:
    """Black lines where the colours change, white between them; uint8 (H, W, 4), straight alpha."""
    H, W, _ = rgba.shape
    alpha = rgba[..., 3:].astype("float32")
    shown = np.concatenate([rgba[..., :3] * (alpha / 255) + 255 - alpha, alpha], -1)
    shown = np.pad(shown, ((1, 1), (1, 1), (0, 0)), "edge")
    centre = shown[1:-1, 1:-1]
    change = np.zeros((H, W), "float32")
    for y, x in ((0, 1), (1, 0), (0, 0), (0, 2)):
        other = shown[y : y + H, x : x + W]
        change = np.maximum(change, np.abs(centre - other).max(-1))
    ink = thicken(np.clip((change - FAINT) / (STRONG - FAINT), 0, 1), H // THIN)[..., None]
    rgb = 255 * (1 - ink) + np.array(INK) * ink
    return np.concatenate([rgb, np.maximum(alpha, 255 * ink)], -1).round().astype("uint8")


def cartoon(rgba: np.ndarray) -> np.ndarray:
    """The flat colours inside the lines; uint8 (H, W, 4), straight alpha."""
    lines = line_drawing(rgba).astype("float32")
    light = lines[..., :3] / 255  # 1 where there is no line
    rgb = np.where(rgba[..., 3:] > 128, rgba[..., :3], 255) * light + np.array(INK) * (1 - light)
    return np.concatenate([rgb, lines[..., 3:]], -1).round().astype("uint8")


def thicken(ink: np.ndarray, radius: int) -> np.ndarray:
    """The lines of (H, W) in 0..1, ``radius`` pixels wider on every side."""
    image = Image.fromarray((255 * ink).astype("uint8"))
    for _ in range(max(1, radius)):
        image = image.filter(ImageFilter.MaxFilter(3))
    return np.asarray(image).astype("float32") / 255


def silhouette(rgba: np.ndarray) -> np.ndarray:
    """The shape in black; uint8 (H, W, 4), straight alpha."""
    return np.concatenate([np.full_like(rgba[..., :3], INK), rgba[..., 3:]], -1)


def same(rgba: np.ndarray) -> np.ndarray:
    """Pixel art is made of the flat drawing when the picture is put together: see `compose`."""
    return rgba


LOOKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cartoon": cartoon,
    "line drawing": line_drawing,
    "pixel art": same,
    "silhouette": silhouette,
}
"""By style: what makes it of a flat drawing, uint8 (H, W, 4) -> (H, W, 4)."""
