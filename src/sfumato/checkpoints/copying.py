"""Memory for weights, and the copies into it at the speed of the memory."""

from __future__ import annotations

import math
import mmap
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

Name = TypeVar("Name")
Result = TypeVar("Result")

BLOCK = 128
"""Rows turned at a time, so that the memory read and the memory written stay in the fast cache."""


class Arena:
    """Uninitialised memory, aligned to 64 bytes so that JAX on a CPU takes it over as it is.

    It comes in large pieces. A piece is freed when the last array in it is. Huge pages are left to
    the system: where the host of a virtual machine has yet to provide the memory, one costs 4 ms.
    """

    PIECE = 64 * 2**20
    # Python's default is memory to be shared with child processes, which is slower to come by.
    KIND = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}

    def __init__(self) -> None:
        self.free = np.empty(0, np.uint8)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        size = math.prod(shape) * dtype.itemsize
        padded = -(-size // 64) * 64
        if padded > self.free.size:
            piece = mmap.mmap(-1, max(padded, self.PIECE), **self.KIND)
            self.free = np.frombuffer(piece, np.uint8)
        memory, self.free = self.free[:size], self.free[padded:]
        return memory.view(dtype).reshape(shape)


def ahead(jobs: Iterable[tuple[Name, Callable[[], Result]]]) -> Iterator[tuple[Name, Result]]:
    """The results of jobs in their order, a few made ahead on all processors."""
    workers = min(8, os.cpu_count() or 1)
    waiting: deque[tuple[Name, Future[Result]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for name, job in jobs:
            waiting.append((name, pool.submit(job)))
            if len(waiting) > 2 * workers:
                name, future = waiting.popleft()
                yield name, future.result()
        while waiting:
            name, future = waiting.popleft()
            yield name, future.result()


def turn(source: np.ndarray, target: np.ndarray) -> None:
    """Copy (O, I, h, w) or (O, I) to (h, w, I, O) or (I, O), in blocks that fit into the cache.

    A 1x1 convolution (O, I, 1, 1) also goes to (I, O).
    """
    inputs, outputs = target.shape[-2:]
    source = source.reshape(outputs, inputs, -1)  # (O, I, K)
    target = target.reshape(-1, inputs, outputs)  # (K, I, O)
    step = max(1, BLOCK // (2 * source.shape[2]) * 9)
    is_half = source.dtype == np.float16 and target.dtype == np.float32

    for o in range(0, outputs, BLOCK):
        for i in range(0, inputs, step):
            block = source[o : o + BLOCK, i : i + step]
            block = widen(block) if is_half else block.astype(target.dtype)
            target[:, i : i + step, o : o + BLOCK] = block.transpose(2, 1, 0)


def widen(halves: np.ndarray) -> np.ndarray:
    """float16 -> float32, exactly, in vector instructions that NumPy's own cast does without.

    The bits of sign, exponent and fraction move to their places in a float32. The exponents differ
    by 112, which one multiplication makes up for, subnormal numbers included.
    """
    bits = halves.view(np.int16).astype(np.int32)  # the sign fills the upper half
    bits <<= 13
    bits &= ~0x70000000  # the bits of the exponent that the sign filled
    floats = bits.view(np.float32)
    floats *= np.float32(2.0**112)
    if floats.size and max(floats.max(), -floats.min()) >= 2.0**16:  # infinite or not a number
        return halves.astype(np.float32)
    return floats
