"""A pack of simple shapes, drawn here: what the recipe is tried on without downloads."""

from __future__ import annotations

import numpy as np

from recipes.mini import pack

RED, BLUE, WHITE = (214, 48, 48), (48, 96, 214), (250, 250, 250)


def shape(name: str, colour: tuple[int, int, int], size: int) -> np.ndarray:
    """A disc, a square or a ring, uint8 (size, size, 4)."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    radius = np.hypot(x, y) / (size / 2)
    inside = {"ball": radius < 0.9, "box": np.maximum(abs(x), abs(y)) < 0.8 * size / 2}
    alpha = inside.get(name, (radius < 0.95) & (radius > 0.4))
    rgba = np.zeros((size, size, 4), np.uint8)
    rgba[..., :3] = colour
    rgba[..., 3] = 255 * alpha
    return rgba


def toy_pack(size: int = 16) -> pack.Pack:
    """Three things in two styles; the ring is white and cannot be painted."""
    drawings, labels = [], []
    for style, fade in (("3d render", 1.0), ("flat drawing", 0.9)):
        for name, colour in (("ball", RED), ("box", BLUE), ("ring", WHITE)):
            faded = tuple(int(fade * c) for c in colour)
            drawings.append(shape(name, faded, size))
            labels.append(pack.label_of(drawings[-1], name, style, "0"))
    return pack.Pack(np.stack(drawings), tuple(labels))
