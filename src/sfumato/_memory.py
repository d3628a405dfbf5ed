"""Memory for large arrays that come and stay: weights and what is made of them."""

from __future__ import annotations

import mmap

import numpy as np

# Python's default is memory to be shared with child processes, which is slower to come by.
KIND = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


def new_memory(size: int) -> np.ndarray:
    """Zeros (size,) uint8 at the beginning of a page, which the system provides when touched.

    NumPy asks for huge pages. Where the host of a virtual machine has yet to provide the memory,
    each of them costs 4 ms, five times as much as its 512 small ones.
    """
    return np.frombuffer(mmap.mmap(-1, size, **KIND), np.uint8)
