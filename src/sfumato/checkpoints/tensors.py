"""Tensors as a file holds them: views of the mapped file, not copies."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sfumato.checkpoints import nature

Tensors = dict[str, np.ndarray]
"""Name -> array. Convolution kernels are (O, I, h, w) and linear ones (O, I), as PyTorch has them,
whatever the file: a file that stores them otherwise appears as transposed views."""

MAX_RANK = 8


class CheckpointError(ValueError):
    """A checkpoint is damaged, unsafe, of an unknown kind, or does not fit the network."""


def map_file(path: Path) -> np.ndarray:
    """The bytes of a file as a read-only uint8 array that takes no memory of its own.

    Raises:
        CheckpointError: it is empty, or its first bytes say that it is not what its ending says.
    """
    check_content(path)
    return np.memmap(path, np.uint8, "r").view(np.ndarray)


def check_content(path: Path) -> None:
    """Refuse a file whose first bytes say that it is not what its ending says."""
    with path.open("rb") as file:
        head = file.read(nature.HEAD)
    if not head:
        raise CheckpointError(f"`{path}` is empty: its download failed. Download it again.")
    if what := nature.of_content(head, path.suffix.lower()):
        raise CheckpointError(f"`{path}` {what}.")


def view(raw: np.ndarray, start: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """The array of ``shape`` that begins at byte ``start``; ValueError if the file ends before."""
    if len(shape) > MAX_RANK or any(not 0 <= size < 2**40 for size in shape):
        raise ValueError(f"the shape {shape} is not one of a weight")
    stop = start + math.prod(shape) * dtype.itemsize  # Python integers do not overflow
    if not 0 <= start <= stop <= raw.size:
        raise ValueError(f"bytes {start} to {stop} lie outside the file of {raw.size} bytes")
    return raw[start:stop].view(dtype).reshape(shape)


def rename(tensors: Tensors, native: Callable[[str], str]) -> Tensors:
    """The tensors by their native names."""
    found = {native(name): tensor for name, tensor in tensors.items()}
    if len(found) < len(tensors):
        raise CheckpointError("The checkpoint has a tensor under two names.")
    return found


def listing(names: list[str], most: int = 12) -> str:
    """The names for an error message, the tail of a long list counted."""
    shown = ", ".join(sorted(names)[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
