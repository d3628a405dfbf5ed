"""Latents at another size, as PyTorch's `interpolate` makes them without aligned corners."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def nearest(size: int, wanted: int) -> np.ndarray:
    return np.arange(wanted) * size // wanted


def nearest_exact(size: int, wanted: int) -> np.ndarray:
    """By the middles of positions."""
    return (2 * np.arange(wanted) + 1) * size // (2 * wanted)


def tent(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def cubic(a: float) -> Callable[[np.ndarray], np.ndarray]:
    """Keys' kernel (1981), with his -0.5 or another slope at its ends."""

    def kernel(x: np.ndarray) -> np.ndarray:
        x = np.abs(x)
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return np.where(x <= 1, near, np.where(x < 2, far, 0))

    return kernel


# Kernel, its radius, and whether the weights beyond the edge are dropped or go to the edge.
KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int, bool]] = {
    "bilinear": (tent, 1, False),
    "bilinear_antialiased": (tent, 1, True),
    "bicubic": (cubic(-0.75), 2, False),
    "bicubic_antialiased": (cubic(-0.5), 2, True),
}
PICKS = {"nearest": nearest, "nearest_exact": nearest_exact}
MODES = (*KERNELS, *PICKS)


def interpolated(x: np.ndarray, size: tuple[int, int], mode: str) -> np.ndarray:
    """Bring x (B, h, w, C) to a size that is not smaller, by one of `MODES`: float32."""
    for axis, wanted in zip((1, 2), size, strict=True):
        if mode in PICKS:
            x = np.take(x, PICKS[mode](x.shape[axis], wanted), axis)
        else:
            weights = weights_of(x.shape[axis], wanted, mode)
            x = np.moveaxis(np.tensordot(weights, x, (1, axis)), 0, axis)
    return x.astype("float32")


def weights_of(size: int, wanted: int, mode: str) -> np.ndarray:
    """The weights (wanted, size) of a kernel along an axis.

    The kernels that PyTorch calls antialiased are no wider where nothing gets smaller.
    """
    kernel, radius, drops = KERNELS[mode]
    middles = (np.arange(wanted) + 0.5) * size / wanted - 0.5
    first = np.floor(middles).astype(int) - radius + 1
    weights = np.zeros((wanted, size))
    for tap in range(2 * radius):
        at = first + tap
        w = kernel(middles - at)
        if drops:
            w = np.where((at >= 0) & (at < size), w, 0)
        np.add.at(weights, (np.arange(wanted), np.clip(at, 0, size - 1)), w)
    return weights / weights.sum(1, keepdims=True)
