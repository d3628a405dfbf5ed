"""Rotations of a weight's outputs, as OFT and BOFT have them."""

from __future__ import annotations

import numpy as np


def cayley(blocks: np.ndarray, constraint: float) -> np.ndarray:
    """The rotations (..., n, n) of free matrices: (I + Q)(I - Q)^-1 of Q = B - B^T.

    A constraint above 0 is the largest norm of all Q together.
    """
    q = blocks - np.swapaxes(blocks, -1, -2)
    norm = float(np.linalg.norm(q))
    if constraint and norm > constraint:
        q = q * np.float32(constraint / norm)
    one = np.eye(q.shape[-1], dtype="float32")
    return (one + q) @ np.linalg.inv(one - q)


def rotated(weight: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """OFT: blocks of outputs of weight (k * n, ...), each by R^T of its rotation R (k, n, n)."""
    k, n, _ = rotations.shape
    return np.einsum("knm,knz->kmz", rotations, weight.reshape(k, n, -1)).reshape(weight.shape)


def through_butterfly(weight: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """BOFT: outputs (O, ...) by rotations (m, O / b, b, b), in another order at each stage.

    Stage i turns outputs together that lie 2^i * b / 2 apart.
    """
    O = len(weight)  # noqa: E741
    for i, blocks in enumerate(rotations):
        J, b, _ = blocks.shape
        k = 2**i * b // 2
        order = np.arange(O).reshape(O // (2 * k), 2, k).swapaxes(1, 2).ravel()
        turned = blocks @ weight[order].reshape(J, b, -1)
        weight = turned.reshape(weight.shape)[np.argsort(order)]
    return weight


def fit_butterfly(outputs: int, stages: int, size: int) -> bool:
    """Whether outputs can be ordered for each stage of blocks of a size."""
    return size % 2 == 0 and stages < 32 and outputs % (2**stages * size // 2) == 0
