"""Self-attention among fewer tokens: Bolya and Hoffman 2023 (arXiv 2303.17604).

One token of every 2x2 cell of the map is a target, the others are sources. The sources that are
most like a target are averaged into it. The layer sees the remaining tokens, and every token takes
the result of the one that it went into.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from keras import ops

from sfumato.kernels import Tensor


class Match(NamedTuple):
    """The tokens that go together: T become T - r, first the sources that stay, then targets."""

    stay: Tensor  # (B, S - r) indices of sources
    go: Tensor  # (B, r) indices of sources
    into: Tensor  # (B, r) the targets that those go into
    home: Tensor  # (B, T) where every token of the map is afterwards


@dataclass(frozen=True)
class TokenMerging:
    """Applies a layer to fewer tokens; maps of another size are left alone.

    Args:
        ratio: 0 < ratio <= 0.75, the part of the tokens that are merged into others.
        height, width: of the map.
    """

    ratio: float
    height: int
    width: int

    def __call__(self, layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, C)"""
        sources, targets = roles(self.height, self.width)
        merged = int(self.ratio * x.shape[1])
        if x.shape[1] != self.height * self.width or not merged or not len(targets):
            return layer(x)
        found = match(x, sources, targets, merged)
        return pick(layer(merge(x, found, sources, targets)), found.home)  # (B, T, C)


@lru_cache
def roles(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of sources and targets on the map; the targets are always the same random ones.

    Targets in rows and columns leave their grid in the picture; which token of its cell is one is
    therefore drawn, from a generator of its own.
    """
    y, x = np.divmod(np.arange(height // 2 * (width // 2)), max(width // 2, 1))
    down, right = np.random.Generator(np.random.Philox(0)).integers(0, 2, (2, len(y)))
    targets = (2 * y + down) * width + 2 * x + right
    return np.setdiff1d(np.arange(height * width), targets).astype("int32"), targets.astype("int32")


def match(x: Tensor, sources: np.ndarray, targets: np.ndarray, merged: int) -> Match:
    """The ``merged`` sources that are nearest to a target, by the cosine of their tokens."""
    x = ops.cast(x, "float32")
    x = x / ops.sqrt(ops.sum(x * x, axis=-1, keepdims=True) + 1e-12)
    a, b = ops.take(x, sources, axis=1), ops.take(x, targets, axis=1)  # (B, S, C), (B, targets, C)
    likeness = ops.matmul(a, ops.transpose(b, (0, 2, 1)))  # (B, S, targets)
    nearest = ops.cast(ops.argmax(likeness, axis=-1), "int32")  # (B, S)
    order = ops.cast(ops.argsort(-ops.max(likeness, axis=-1), axis=-1), "int32")  # nearest first
    rank = ops.cast(ops.argsort(order, axis=-1), "int32")  # (B, S)

    # Where each token is afterwards: sources that stay, then targets.
    staying = len(sources) - merged
    home = ops.where(rank < merged, staying + nearest, rank - merged)
    places = ops.arange(staying, staying + len(targets), dtype="int32")
    fixed = ops.zeros_like(nearest[:, :1]) + places
    homes = ops.concatenate([home, fixed], axis=1)  # of the sources, then of the targets
    place = np.argsort(np.concatenate([sources, targets])).astype("int32")

    go = order[:, :merged]
    into = pick(nearest[..., None], go)[..., 0]
    return Match(order[:, merged:], go, into, ops.take(homes, place, axis=1))


def merge(x: Tensor, found: Match, sources: np.ndarray, targets: np.ndarray) -> Tensor:
    """Every target and the sources that go into it as their mean: (B, T, C) -> (B, T - r, C)"""
    a, b = ops.take(x, sources, axis=1), ops.take(x, targets, axis=1)
    # Sums by a matmul: it is fast and in one order on every backend, as scattering is not.
    goes = ops.cast(found.into[..., None] == ops.arange(len(targets), dtype="int32"), x.dtype)
    sums = b + ops.matmul(ops.transpose(goes, (0, 2, 1)), pick(a, found.go))
    counts = 1 + ops.sum(goes, axis=1)[..., None]
    return ops.concatenate([pick(a, found.stay), sums / counts], axis=1)


def pick(x: Tensor, index: Tensor) -> Tensor:
    """Tokens by their index in each sample: x (B, T, C), index (B, n) -> (B, n, C)"""
    B, T, C = x.shape
    first = T * ops.arange(B, dtype="int32")[:, None]
    return ops.take(ops.reshape(x, (B * T, C)), index + first, axis=0)
