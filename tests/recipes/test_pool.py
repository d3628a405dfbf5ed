"""The pool of samples on the device: what is in it, and what a training waits for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recipes.mini.config import Training
from recipes.mini.pool import Pool


def numbered(size: int, count: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches of samples 0, 1, 2, ...; no more than ``count`` of them."""
    for start in range(0, size * count, size):
        row = np.arange(start, start + size, dtype="float32")
        yield row[:, None], row.astype("int32")


def test_new_samples_replace_the_oldest():
    training = Training(1, batch=2, rate=1.0, chunk=1, pool=6)
    with Pool(numbered(2, 5), training) as pool:
        while not (pool.place == 4 and pool.filled == 6):
            arrays, filled = pool.refresh()
    assert filled == 6
    np.testing.assert_array_equal(arrays[1], [6, 7, 8, 9, 4, 5])
    np.testing.assert_array_equal(arrays[0][:, 0], arrays[1])


def test_the_first_call_waits_for_the_least_and_no_longer():
    training = Training(1, batch=2, rate=1.0, chunk=1, pool=100, least=8)
    with Pool(numbered(2, 50), training) as pool:
        assert 8 <= pool.refresh()[1] <= 8 + 2
        assert pool.refresh()[1] <= 8 + 4  # a call takes no more than it draws
