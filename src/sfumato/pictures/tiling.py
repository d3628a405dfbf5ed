"""Work on a picture in overlapping tiles, whose results are blended."""

from __future__ import annotations

from typing import Any

import numpy as np


def tiled(function: Any, x: np.ndarray, tile: int, overlap: int, scale: float) -> np.ndarray:
    """The results of ``function`` for overlapping tiles of x (1, h, w, C), blended linearly.

    Every tile has the same shape, so one executable serves a picture of any size.

    Args:
        function: (1, t, u, C) -> (1, scale t, scale u, F).
        x: NumPy array.
        tile: side of a tile; an axis shorter than that is one tile.
        overlap: the least overlap of neighbours, 0 < overlap < tile.
        scale: size of the result by size of x, such as 8 for a decoder and 1 / 8 for an encoder.

    Returns:
        float32 (1, scale h, scale w, F).
    """
    _, h, w, _ = x.shape
    grain = max(1, round(1 / scale))  # a tile of pixels begins where a latent does
    fade = round(overlap * scale)
    total: Any = 0.0
    weight: Any = 0.0
    for top in offsets(h, tile, overlap, grain):
        for left in offsets(w, tile, overlap, grain):
            y = np.asarray(function(x[:, top : top + tile, left : left + tile]), "float32")
            t, u = y.shape[1:3]
            ramp = ramp_weights(t, fade)[:, None, None] * ramp_weights(u, fade)[:, None]

            # Zeros around the tile, up to the size of the whole
            before, after = (round(top * scale), round(left * scale)), (h * scale, w * scale)
            edges = [(b, round(a) - b - n) for a, b, n in zip(after, before, (t, u), strict=True)]
            total = total + np.pad(ramp * y, ((0, 0), *edges, (0, 0)))
            weight = weight + np.pad(ramp, (*edges, (0, 0)))
    return total / weight


def offsets(size: int, tile: int, overlap: int, grain: int = 1) -> list[int]:
    """The first positions of tiles, in multiples of ``grain``, that cover ``size`` evenly."""
    if size <= tile:
        return [0]
    count = -(-(size - overlap) // (tile - overlap))
    return [grain * (i * (size - tile) // (count - 1) // grain) for i in range(count)]


def ramp_weights(size: int, overlap: int) -> np.ndarray:
    """Weights (size,) that rise over the first ``overlap`` positions and fall over the last."""
    position = np.arange(size, dtype="float32") + 0.5
    return np.clip(np.minimum(position, size - position) / max(overlap, 1), 0, 1)
