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
    """What makes batches: a pure function of the random numbers."""

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


def pooled(source: Iterator[tuple[np.ndarray, ...]], size: int, seed: int) -> Iterator:
    """Batches drawn from the last ``size`` samples of a source that is slower than the training:
    a batch of the source replaces others when it is there, and nobody waits for it."""
    from queue import Queue
    from threading import Thread

    random = np.random.Generator(np.random.Philox(seed))
    first = next(source)
    count = len(first[0])
    pool = [np.repeat(part[:1], size, 0) for part in first]
    ready: Queue = Queue(64)

    def feed() -> None:
        for batch in source:
            ready.put(batch)

    Thread(target=feed, daemon=True).start()
    filled = place = 0
    while True:
        while filled < min(size, 4 * count) or not ready.empty():
            chosen = np.arange(place, place + count) % size
            for whole, part in zip(pool, ready.get(), strict=True):
                whole[chosen] = part
            place, filled = (place + count) % size, min(size, filled + count)
        taken = random.integers(filled, size=count)
        yield tuple(part[taken] for part in pool)
