"""FreeU: Si et al. 2023 (arXiv 2309.11497), a rebalancing of what the up path joins.

The backbone denoises, and skip connections bring details. Half of the backbone's channels are made
stronger (equation 4), and the lowest frequencies of the skip connections weaker (equations 5 to 7).
"""

from __future__ import annotations

import numpy as np
from keras import ops

from sfumato.kernels import Tensor

LEVELS = 2  # the first of the up path


def balanced(x: Tensor, skip: Tensor, factors: Tensor, level: int) -> tuple[Tensor, Tensor]:
    """The backbone's map and the skip connection that is joined to it, rebalanced.

    Args:
        x: (B, H, W, C).
        skip: (B, H, W, D).
        factors: (4,), s1 and s2 of the skip connections, b1 and b2 of the backbone.
        level: of the up path, 0 for the first; from `LEVELS` on nothing changes.
    """
    if level >= LEVELS:
        return x, skip
    C = x.shape[-1]
    first = (np.arange(C) < C // 2).astype("float32")
    x = x * ops.cast(1 + (factors[LEVELS + level] - 1) * first, x.dtype)
    low = lowest(ops.cast(skip, "float32"))
    return x, skip + ops.cast((factors[level] - 1) * low, skip.dtype)


def lowest(x: Tensor) -> Tensor:
    """The part of x (B, H, W, C) with frequencies -1 and 0 along each axis, as real numbers.

    They are four, so two small matmuls do what the paper's Fourier transforms do.
    """
    _, H, W, C = x.shape
    waves = low_waves(H, W)  # (F, H W)
    there, back = ops.convert_to_tensor(waves), ops.convert_to_tensor(waves.T.copy())
    found = ops.matmul(there, ops.reshape(x, (-1, H * W, C)))  # (B, F, C)
    return ops.reshape(ops.matmul(back, found), (-1, H, W, C))


def low_waves(height: int, width: int) -> np.ndarray:
    """Cosines and sines of the lowest frequencies on a map, (F, H W), each of norm 1 or half."""
    y, x = np.divmod(np.arange(height * width), width)
    frequencies = {(u % height, v % width) for u in (-1, 0) for v in (-1, 0)}
    angles = np.array(
        [2 * np.pi * (u * y / height + v * x / width) for u, v in sorted(frequencies)]
    )
    waves = np.concatenate([np.cos(angles), np.sin(angles)]) / np.sqrt(height * width)
    return waves.astype("float32")
