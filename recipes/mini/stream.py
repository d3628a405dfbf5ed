"""Batches of composed pictures, made by worker processes while the accelerator computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context

import numpy as np

from recipes.mini.compose import Composer

Batch = tuple[np.ndarray, list[str]]
_composer: Composer | None = None


def compose(composer: Composer, size: int, seed: int) -> Batch:
    """``size`` pictures uint8 (size, H, W, 3) and their captions: a pure function of the seed."""
    random = np.random.Generator(np.random.Philox(seed))
    images, captions = zip(*(composer.sample(random) for _ in range(size)), strict=True)
    return np.stack(images), list(captions)


def adopt(composer: Composer) -> None:
    global _composer  # noqa: PLW0603  a worker process has one, sent once instead of per batch
    _composer = composer


def work(size: int, seed: int) -> Batch:
    assert _composer is not None
    return compose(_composer, size, seed)


def batches(composer: Composer, size: int, seed: int, workers: int = 0) -> Iterator[Batch]:
    """Endless batches; the same ones for any number of workers, 0: in this process."""
    seeds = (seed << 32 | index for index in count())
    if not workers:
        yield from (compose(composer, size, s) for s in seeds)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, adopt, (composer,)) as pool:
        waiting = deque(pool.submit(work, size, next(seeds)) for _ in range(3 * workers))
        while True:
            yield waiting.popleft().result()
            waiting.append(pool.submit(work, size, next(seeds)))
