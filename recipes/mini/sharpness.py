"""How crisp pictures are: the steepness of their edges, and the evenness of their plain grounds."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_erosion

STEEP = 0.03  # the share of a picture's pixels that are its edges
EVEN = 2.0  # levels of 256 by which a plain ground may vary, in standard deviations
NEAR = 24  # levels within which a pixel is of the ground


def steepness(picture: np.ndarray) -> float:
    """The mean difference of neighbouring pixels, in levels, at the edges of uint8 (H, W, 3)."""
    x = picture.astype("float32")
    down = np.abs(np.diff(x, axis=0)).max(-1)[:, :-1]
    across = np.abs(np.diff(x, axis=1)).max(-1)[:-1]
    both = np.sort(np.maximum(down, across), axis=None)
    return float(both[-max(1, round(STEEP * both.size)) :].mean())


def unevenness(picture: np.ndarray) -> float:
    """The standard deviation of a picture's ground, in levels, of its worst channel.

    The ground is what is near the colour of the border, with all its neighbours: the soft edge of
    a thing is no part of it.
    """
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    away = np.abs(picture.astype("float32") - np.median(border, 0)).max(-1)
    ground = binary_erosion(away < NEAR, np.ones((3, 3)), border_value=1)
    return float(picture[ground].astype("float32").std(0).max()) if ground.any() else 0.0


def figures(pictures: np.ndarray) -> dict[str, float]:
    """The mean steepness of pictures (B, H, W, 3), and how many have an even ground."""
    return {
        "steepness": float(np.mean([steepness(p) for p in pictures])),
        "even": float(np.mean([unevenness(p) <= EVEN for p in pictures])),
    }
