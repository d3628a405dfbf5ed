"""Weights of words: what they do to the vectors that a text encoder gives for its tokens.

- original: A1111's. Vectors times weights, and all of them scaled to their mean of before.
- no_norm: A1111's "No norm". Vectors times weights.
- comfyui: ComfyUI's. Each vector on the line from that of the empty prompt, at the weight.

Two more use no weights. With "ignore" the grammar is read, with "none" brackets are ordinary
characters.
"""

from __future__ import annotations

import numpy as np


def weigh(
    context: np.ndarray, weights: np.ndarray, emphasis: str, empty: np.ndarray | None = None
) -> np.ndarray:
    """Weigh the vectors of one chunk.

    Args:
        context: (T, C) of one text encoder, float32.
        weights: (T,) of the tokens.
        emphasis: "original", "no_norm" or "comfyui".
        empty: (T, C) of the empty prompt, for "comfyui".
    """
    factors = weights[:, None]  # (T, 1)
    if emphasis == "comfyui":
        assert empty is not None
        return np.where(factors == 1, context, empty + (context - empty) * factors)
    weighed = context * factors
    mean = weighed.mean(dtype="float64")
    if emphasis == "no_norm" or mean == 0:
        return weighed
    return weighed * np.float32(context.mean(dtype="float64") / mean)
