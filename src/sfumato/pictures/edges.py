"""Canny's edges (Canny 1986) in whole numbers, as OpenCV computes them.

ControlNets were trained on OpenCV's maps, so these are the same to the pixel.
"""

from __future__ import annotations

import numpy as np

TANGENT = 13573  # of 22.5 degrees, times 2 ** 15


def canny(pixels: np.ndarray, low: float = 100, high: float = 200) -> np.ndarray:
    """The edges of a picture, uint8 (H, W), 255 on an edge.

    Args:
        pixels: uint8 (H, W, C). The channel with the steepest slope counts.
        low: a slope above it is an edge where it is joined to one above `high`.
        high: a slope above it is an edge.
    """
    dx, dy, slope = slopes(pixels)
    peaks = thinned(dx, dy, slope) & (slope > low)
    found = peaks & (slope > high)
    return joined(found, peaks).astype(np.uint8) * np.uint8(255)


def slopes(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sobel's derivatives along x and y, and the sum of their sizes, int32 (H, W)."""
    x = np.pad(pixels.astype(np.int32), ((1, 1), (1, 1), (0, 0)), "edge")
    across = x[:, 2:] - x[:, :-2]  # (H + 2, W, C)
    down = x[2:] - x[:-2]  # (H, W + 2, C)
    dx = across[:-2] + 2 * across[1:-1] + across[2:]
    dy = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    slope = np.abs(dx) + np.abs(dy)
    steepest = slope.argmax(axis=-1)[..., None]
    dx, dy, slope = (np.take_along_axis(each, steepest, -1)[..., 0] for each in (dx, dy, slope))
    return dx, dy, slope


def thinned(dx: np.ndarray, dy: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Where the slope is steeper than at both neighbours across the edge, bool (H, W)."""
    H, W = slope.shape
    around = np.pad(slope, 1)

    def at(y: int, x: int) -> np.ndarray:
        return around[1 + y : 1 + y + H, 1 + x : 1 + x + W]

    size_x, size_y = np.abs(dx).astype(np.int64), np.abs(dy).astype(np.int64) << 15
    flat = size_x * TANGENT  # 22.5 degrees
    steep = flat + (size_x << 16)  # 67.5 degrees
    level = (slope > at(0, -1)) & (slope >= at(0, 1))
    above = (slope > at(-1, 0)) & (slope >= at(1, 0))
    falling = (slope > at(-1, -1)) & (slope > at(1, 1))
    rising = (slope > at(-1, 1)) & (slope > at(1, -1))
    across = np.where((dx ^ dy) < 0, rising, falling)
    return np.where(size_y < flat, level, np.where(size_y > steep, above, across))


def joined(found: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """All peaks that touch what was found, through other peaks, bool (H, W)."""
    H, W = peaks.shape
    waiting = np.flatnonzero(np.pad(found, 1))
    open_peaks = np.pad(peaks & ~found, 1).ravel()
    found = np.pad(found, 1).ravel()
    around = [y * (W + 2) + x for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    while waiting.size:
        near = np.unique(np.add.outer(around, waiting))
        waiting = near[open_peaks[near]]
        open_peaks[waiting] = False
        found[waiting] = True
    return found.reshape(H + 2, W + 2)[1:-1, 1:-1]
