"""One loop for all networks: several steps at a time, moving averages, checkpoints.

How the steps are made is the backend's matter (`steps`).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from recipes.mini import steps
from recipes.mini.config import Training
from recipes.mini.pool import Pool
from sfumato.networks.network import Network, keys

log = logging.getLogger(__name__)
Tensor = Any

TOKENS = 77
RESIDUALS = ("conv2.weight", "to_out.0.weight", "out_proj.weight", "fc2.weight", "net.2.weight",
             "proj_out.weight")  # fmt: skip


def start(network: Network, seed: int) -> None:
    """Random weights, but every residual branch begins at zero: the deepest network begins as
    its skeleton, and learns from the first step (Goyal et al. 2017; Ho et al. 2020)."""
    network.initialize(seed)
    for key, variable in keys(network).items():
        if key.endswith(RESIDUALS):
            variable.assign(np.zeros(variable.shape, "float32"))


def rate(training: Training, step: int, seconds: float) -> float:
    """The learning rate: up in ``warmup`` steps, level, then down to zero over the last part.

    How far the training is, its steps say or its minutes, whichever end first.
    """
    up = (step + 1) / training.warmup
    down = (1 - progress(training, step, seconds)) / training.decay
    return training.rate * min(max(min(up, down), 0.0), 1.0)


def progress(training: Training, step: int, seconds: float) -> float:
    """The part of the training that is done, 0 to 1 or a little more."""
    return max(step / training.steps, seconds / (60 * training.minutes))


class Trainer:
    """Networks, an AdamW optimizer and an average of the weights, saved and restored together.

    All weights are one long vector to the optimizer, which is some hundreds of small operations
    less at every step. The networks' variables get their values when the training ends.

    Args:
        networks: by name; their variables are trained.
        draw: (`steps.Random`, *samples of the pool) -> the arguments of the loss.
        loss: (*arguments) -> (scalar, dict of scalars), in ``keras.ops``.
        training: how long, and how fast.
        folder: where the checkpoint is.
        fixed: other networks that the loss uses.
    """

    def __init__(
        self,
        networks: dict[str, Any],
        draw: Callable,
        loss: Callable,
        training: Training,
        folder: Path,
        fixed: Sequence[Network] = (),
    ) -> None:
        self.networks, self.draw, self.loss, self.training = networks, draw, loss, training
        self.path = folder / "checkpoint.npz"
        self.variables = {
            f"{name}/{key}": variable
            for name, network in networks.items()
            for key, variable in keys(network).items()
        }
        self.fixed = [v for network in fixed for v in keys(network).values()]
        self.optimizer = keras.optimizers.AdamW(
            training.rate, weight_decay=0.01, beta_2=0.99, global_clipnorm=1.0
        )
        self.begin()
        self.optimizer.build([keras.Variable(self.values, dtype="float32")])
        self.step, self.seconds = 0, 0.0

    def begin(self) -> None:
        """Train, and average, from the weights as they are now."""
        whole = joined(ops.convert_to_numpy(v.value) for v in self.variables.values())
        self.values, self.average = steps.tensor(whole), steps.tensor(whole)

    def parts(self, vector: Tensor, split: Callable = np.split) -> list[Tensor]:
        """A vector of all weights as arrays of the variables' shapes."""
        shapes = [tuple(v.shape) for v in self.variables.values()]
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        pieces = split(vector, ends[:-1])
        return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]

    def named(self, vector: Tensor) -> dict[str, np.ndarray]:
        arrays = self.parts(ops.convert_to_numpy(vector))
        return dict(zip(self.variables, arrays, strict=True))

    @property
    def rate(self) -> float:
        return rate(self.training, self.step, self.seconds)

    @property
    def is_over(self) -> bool:
        return progress(self.training, self.step, self.seconds) >= 1

    def fit(
        self,
        pool: Pool,
        minutes: float | None = None,
        saved: Callable[[Trainer], object] | None = None,
    ) -> None:
        """Train to the end, or for so many minutes; a checkpoint every few of them, after which
        ``saved`` is called."""
        if self.is_over:
            return
        run = steps.compiled(self, pool.refresh())
        begun = last = now = self.reported = time.monotonic()
        before, earlier = self.seconds, None
        while not self.is_over and (minutes is None or now - begun < 60 * minutes):
            report = run(pool.refresh())
            self.step += self.training.chunk
            # The host is one call ahead of the device, and no more: the next one waits for nobody.
            self.report(earlier)
            earlier = report
            now = time.monotonic()
            self.seconds = before + now - begun
            if now - last > 60 * self.training.minutes_per_checkpoint:
                self.save(saved)
                last = now
        self.report(earlier)
        self.save(saved)

    def report(self, means: dict[str, Tensor] | None) -> None:
        """Log the means of a call and the samples a second since the last one."""
        if means is None:
            return
        words = ", ".join(f"{name} {float(value):.4f}" for name, value in means.items())
        now = time.monotonic()
        speed = self.training.chunk * self.training.batch / max(now - self.reported, 1e-9)
        self.reported = now
        log.info("step %d: %s (%.1f samples/s)", self.step, words, speed)

    def save(self, saved: Callable[[Trainer], object] | None = None) -> None:
        """Write everything that `restore` needs, atomically; the variables get their values."""
        values = self.named(self.values)
        for name, variable in self.variables.items():
            variable.assign(values[name])
        arrays = {f"value/{name}": value for name, value in values.items()}
        arrays |= {f"average/{name}": value for name, value in self.named(self.average).items()}
        for index, variable in enumerate(self.optimizer.variables):
            arrays[f"optimizer/{index}"] = ops.convert_to_numpy(variable.value)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partly = self.path.with_suffix(".partial.npz")
        np.savez(partly, step=self.step, seconds=self.seconds, **arrays)
        partly.replace(self.path)
        log.info("saved step %d after %.1f minutes", self.step, self.seconds / 60)
        if saved:
            saved(self)

    def restore(self) -> bool:
        """Go on from the checkpoint, if there is one."""
        if not self.path.exists():
            return False
        with np.load(self.path) as file:
            for name, variable in self.variables.items():
                variable.assign(file[f"value/{name}"])
            self.begin()
            average = joined(file[f"average/{name}"] for name in self.variables)
            self.average = steps.tensor(average)
            for index, variable in enumerate(self.optimizer.variables):
                variable.assign(file[f"optimizer/{index}"])
            self.step, self.seconds = int(file["step"]), float(file["seconds"])
        return True


def joined(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """Arrays of any shapes as one vector, float32."""
    return np.concatenate([array.ravel().astype("float32") for array in arrays])


def averages(path: Path, name: str) -> dict[str, np.ndarray]:
    """The averaged weights of one network of a checkpoint, by key."""
    prefix = f"average/{name}/"
    with np.load(path) as file:
        return {k.removeprefix(prefix): file[k] for k in file.files if k.startswith(prefix)}


def load_average(path: Path, networks: dict[str, Any]) -> None:
    """Give the networks the averaged weights of a checkpoint."""
    for name, network in networks.items():
        values = averages(path, name)
        if any(v._value is None for v in network.variables):
            network.initialize(0)
        for key, variable in keys(network).items():
            variable.assign(values[key])
