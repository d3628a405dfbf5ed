"""Work on a picture in overlapping tiles, whose results are blended."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

UNSEEN = 1e-6
"""The weight of a margin, which counts only where no tile has anything better."""


def tiled(function: Any, x: np.ndarray, tile: int, overlap: int, scale: float) -> np.ndarray:
    """The results of ``function`` for overlapping tiles of x as a whole; see ``tiled_rows``.

    Returns:
        float32 (1, scale h, scale w, F).
    """
    return np.concatenate([*tiled_rows(function, x, tile, overlap, scale)], axis=1)


def tiled_rows(
    function: Any,
    x: np.ndarray,
    tile: int,
    overlap: int,
    scale: float,
    margin: int = 0,
    grain: int = 1,
) -> Iterator[np.ndarray]:
    """The results of ``function`` for overlapping tiles of x (1, h, w, C), blended linearly.

    Every tile has the same shape, so one executable serves a picture of any size. Rows are yielded
    when they are finished, so that no more of the result is held than one row of tiles.

    Args:
        function: (1, t, u, C) -> (1, scale t, scale u, F).
        x: NumPy array.
        tile: side of a tile; an axis shorter than that is one tile.
        overlap: the least overlap of neighbours, 2 margin < overlap < tile.
        scale: size of the result by size of x, such as 8 for a decoder and 1 / 8 for an encoder.
        margin: positions at the edges of a tile that are left to its neighbours. At the edges of
            the picture, where there are none, they say what the tile says, or nothing of use.
        grain: tiles begin at multiples of it; the picture and a tile are multiples, too.

    Yields:
        float32 (1, n, scale w, F), from top to bottom.
    """
    _, h, w, _ = x.shape
    grain = max(grain, round(1 / scale))  # a tile of pixels begins where a latent does
    tops, lefts = (offsets(size, tile, overlap, grain) for size in (h, w))
    ends = round(overlap * scale), round(margin * scale)
    total = weight = np.zeros((1, 0, 0, 0), "float32")

    for top, below in pairwise([*tops, h]):
        for left in lefts:
            y = np.asarray(function(x[:, top : top + tile, left : left + tile]), "float32")
            _, t, u, F = y.shape
            ramp = ramp_weights(t, *ends)[:, None, None] * ramp_weights(u, *ends)[:, None]
            if left == 0:  # the rows that the tiles above left, and new ones
                total = _grown(total, t, round(w * scale), F)
                weight = _grown(weight, t, round(w * scale), 1)
            start = round(left * scale)
            total[:, :, start : start + u] += ramp * y
            weight[:, :, start : start + u] += ramp

        done = round((below - top) * scale)
        yield total[:, :done] / weight[:, :done]
        total, weight = total[:, done:], weight[:, done:]


def _grown(x: np.ndarray, height: int, width: int, channels: int) -> np.ndarray:
    """x (1, h, ...) with zeros below up to a height."""
    grown = np.zeros((1, height, width, channels), "float32")
    if x.size:
        grown[:, : x.shape[1]] = x
    return grown


def offsets(size: int, tile: int, overlap: int, grain: int = 1) -> list[int]:
    """The first positions of tiles, in multiples of ``grain``, that cover ``size`` evenly."""
    if size <= tile:
        return [0]
    count = -(-(size - overlap) // (tile - overlap))
    return [grain * (i * (size - tile) // (count - 1) // grain) for i in range(count)]


def fitted(size: int, tile: int, overlap: int, grain: int) -> int:
    """The least side, a multiple of ``grain``, of tiles that are no more than those of ``tile``."""
    count = len(offsets(size, tile, overlap))
    side = -(-(size + (count - 1) * overlap) // count)
    return -(-side // grain) * grain


def ramp_weights(size: int, overlap: int, margin: int = 0) -> np.ndarray:
    """Weights (size,) that rise over the first ``overlap`` positions and fall over the last.

    Those of the margins on both sides are next to nothing, so that a neighbour's count there.
    """
    position = np.arange(size, dtype="float32") + 0.5
    inner = np.minimum(position, size - position) - margin
    return np.clip(inner / max(overlap - 2 * margin, 1), UNSEEN, 1)
