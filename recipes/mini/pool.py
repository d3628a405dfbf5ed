"""The samples of a training, kept on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import Queue
from threading import Thread
from typing import Any

import numpy as np

from recipes.mini import steps
from recipes.mini.config import Training
from recipes.mini.stream import Maker, batches


class Pool:
    """The latest samples, on the device: a training draws from them, new ones replace the oldest.

    A thread fetches batches while the device computes, so a training waits for the first ones
    alone: on a machine that trains faster than it composes, samples are drawn more than once.

    Args:
        source: endless batches, all of one size.
        training: how many samples are kept, at least, how many a call draws, and how many the
            first one waits for.
    """

    def __init__(self, source: Iterator[tuple[np.ndarray, ...]], training: Training) -> None:
        self.source = source
        self.ready: Queue = Queue(64)
        first = next(source)
        self.count = len(first[0])
        self.size = -(-training.pool // self.count) * self.count
        self.least = min(self.size, training.least)
        self.drawn = training.chunk * training.batch
        self.filled = self.place = 0
        empty = (np.zeros((self.size, *part.shape[1:]), part.dtype) for part in first)
        self.arrays = tuple(map(steps.tensor, empty))
        self.add(first)
        self.is_open = True
        Thread(target=self.feed, daemon=True).start()

    def feed(self) -> None:
        for batch in self.source:
            self.ready.put(batch)
            if not self.is_open:
                return

    def add(self, batch: tuple[np.ndarray, ...]) -> None:
        self.arrays = steps.insert(self.arrays, batch, self.place)
        self.place = (self.place + self.count) % self.size
        self.filled = min(self.size, self.filled + self.count)

    def refresh(self) -> tuple[tuple[Any, ...], int]:
        """Take what is ready, at most what a call draws; (arrays (P, ...), how many samples of them
        are there)."""
        while self.filled < self.least:
            self.add(self.ready.get())
        for _ in range(-(-self.drawn // self.count)):
            if not self.ready.empty():
                self.add(self.ready.get())
        return self.arrays, self.filled

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        """End the thread and, with it, the processes of its source."""
        self.is_open = False
        while not self.ready.empty():
            self.ready.get()


def open_pool(
    open_maker: Callable[[], Maker], training: Training, seed: int, workers: int, most: int = 256
) -> Pool:
    """The pool of a training, filled by worker processes with batches of at most ``most``."""
    size = min(most, training.chunk * training.batch)
    return Pool(batches(open_maker, size, seed, workers), training)
