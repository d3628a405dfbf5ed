"""Endless batches, made by worker processes while the accelerator computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from typing import Any, Protocol

import numpy as np


class Maker(Protocol):
    """A source of batches, each a pure function of the random numbers."""

    def batch(self, random: np.random.Generator, size: int) -> tuple[Any, ...]: ...


_maker: Maker | None = None


def adopt(open_maker: Callable[[], Maker]) -> None:
    global _maker  # noqa: PLW0603  a worker process has one, opened once instead of per batch
    _maker = open_maker()


def work(size: int, seed: int) -> tuple[Any, ...]:
    assert _maker is not None
    return make(_maker, size, seed)


def make(maker: Maker, size: int, seed: int) -> tuple[Any, ...]:
    return maker.batch(np.random.Generator(np.random.Philox(seed)), size)


def batches(
    open_maker: Callable[[], Maker], size: int, seed: int, workers: int = 0
) -> Iterator[tuple[Any, ...]]:
    """Endless batches; the same ones for any number of workers, 0: in this process.

    ``open_maker`` is called in every worker, so that large files are mapped and not sent.
    """
    seeds = (seed << 32 | index for index in count())
    if not workers:
        maker = open_maker()
        yield from (make(maker, size, s) for s in seeds)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), adopt, (open_maker,)) as pool:
        waiting = deque(pool.submit(work, size, next(seeds)) for _ in range(3 * workers))
        while True:
            yield waiting.popleft().result()
            waiting.append(pool.submit(work, size, next(seeds)))
