"""A training of one matrix, whose samples are all the same: `python toy_line.py FOLDER STEPS`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from recipes.mini.config import Training
from recipes.mini.pool import Pool
from recipes.mini.training import Trainer

LEARNING = Training(12, 4, 0.1, warmup=1, decay=1e-9, chunk=2, pool=4)  # at one rate


def samples() -> Iterator[tuple[np.ndarray, ...]]:
    x = np.linspace(-1, 1, 6, dtype="float32")
    while True:
        yield np.stack([x] * 4), np.stack([x[:3] ** 2] * 4)


def learn(folder: Path, steps: int) -> Trainer:
    """Go on to step ``steps``."""
    layer = keras.layers.Dense(3, kernel_initializer="ones")
    layer.build((None, 6))

    def loss(x: Any, y: Any) -> tuple:
        error = ops.mean(ops.square(layer(x) - y))
        return error, {"error": error}

    training = replace(LEARNING, steps=steps)
    trainer = Trainer({"line": layer}, lambda random, *batch: batch, loss, training, folder)
    trainer.restore()
    with Pool(samples(), training) as pool:
        trainer.fit(pool)
    return trainer


if __name__ == "__main__":
    learn(Path(sys.argv[1]), int(sys.argv[2]))
