"""One loop for both networks: a step compiled by the backend, moving averages, checkpoints.

JAX runs the step as one compiled program, as an accelerator wants it; PyTorch runs it eagerly,
which is the faster of the two on a few CPU cores (the README has the figures).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from recipes.mini.config import Configuration, Training
from sfumato.networks.network import Network, keys

log = logging.getLogger(__name__)

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


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Up in ``warmup`` steps, level, then down to zero over the last part (a trapezoid)."""

    def __init__(self, training: Training) -> None:
        self.training = training

    def __call__(self, step: Any) -> Any:
        t = self.training
        step = keras.ops.cast(step, "float32")
        up = (step + 1) / t.warmup
        down = (t.steps - step) / max(1.0, t.decay * t.steps)
        return t.rate * keras.ops.clip(keras.ops.minimum(up, down), 0.0, 1.0)


class Trainer:
    """Networks, an AdamW optimizer and an average of the weights, saved and restored together.

    Args:
        networks: by name; their trainable variables are trained.
        loss: (batch arrays) -> (scalar, dict of scalars), in ``keras.ops``.
        training: how long, and how fast.
        folder: where the checkpoint is.
        fused: compile PyTorch's step: see `fused`.
    """

    def __init__(
        self,
        networks: dict[str, Network],
        loss: Callable,
        training: Training,
        folder: Path,
        fused: bool = False,
    ) -> None:
        self.networks, self.loss, self.training = networks, loss, training
        self.path = folder / "checkpoint.npz"
        self.names = [f"{n}/{key}" for n, network in networks.items() for key in keys(network)]
        self.variables = [v for network in networks.values() for v in keys(network).values()]
        self.optimizer = keras.optimizers.AdamW(
            Schedule(training), weight_decay=0.01, beta_2=0.99, global_clipnorm=1.0
        )
        self.optimizer.build(self.variables)
        self.step, self.seconds, self.fused = 0, 0.0, fused
        self.begin()

    def begin(self) -> None:
        """Average from the weights as they are now."""
        self.average = [numbers(v).copy() for v in self.variables]
        self.run = self.program()

    def rows(self) -> zip:
        """(name, variable) of everything that is trained."""
        return zip(self.names, self.variables, strict=True)

    def program(self) -> Callable[[Sequence[np.ndarray]], dict]:
        """One step of training on a batch, in the backend's best form."""
        if keras.backend.backend() == "jax":
            return jax_step(self)
        if not self.fused:
            return torch_step(self)
        from recipes.mini.fused import step

        return step(self)

    def fit(self, batches: Iterator[Sequence[np.ndarray]], minutes: float | None = None) -> None:
        """Train until the last step, or for so many minutes; a checkpoint every few of them."""
        begun = saved = time.monotonic()
        before = self.seconds
        history: list[dict[str, float]] = []
        while self.step < self.training.steps:
            history.append(self.run(next(batches)))
            self.step += 1
            if self.step % 25 == 0:
                self.report(history[-25:])
            now = time.monotonic()
            self.seconds = before + now - begun
            over = minutes is not None and now - begun > 60 * minutes
            if over or now - saved > 60 * self.training.minutes_per_checkpoint:
                self.save()
                saved = now
            if over:
                return
        self.save()

    def report(self, history: list[dict[str, float]]) -> None:
        means = {k: float(np.mean([float(row[k]) for row in history])) for k in history[0]}
        words = ", ".join(f"{k} {v:.4f}" for k, v in means.items())
        speed = self.step * self.training.batch / max(self.seconds, 1e-9)
        log.info("step %d: %s (%.1f samples/s)", self.step, words, speed)

    def save(self) -> None:
        """Write everything that `restore` needs, atomically."""
        arrays = {}
        for name, value, average in zip(self.names, self.variables, self.average, strict=True):
            arrays[f"value/{name}"] = numbers(value)
            arrays[f"average/{name}"] = np.array(average)
        for index, value in enumerate(self.optimizer.variables):
            arrays[f"optimizer/{index}"] = numbers(value)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial.npz")
        np.savez(partial, step=self.step, seconds=self.seconds, **arrays)
        partial.replace(self.path)
        log.info("saved step %d after %.1f minutes", self.step, self.seconds / 60)

    def restore(self) -> bool:
        """Go on from the checkpoint, if there is one."""
        if not self.path.exists():
            return False
        with np.load(self.path) as file:
            for name, variable in zip(self.names, self.variables, strict=True):
                variable.assign(file[f"value/{name}"])
            self.average = [file[f"average/{name}"] for name in self.names]
            for index, variable in enumerate(self.optimizer.variables):
                variable.assign(file[f"optimizer/{index}"])
            self.step, self.seconds = int(file["step"]), float(file["seconds"])
        self.run = self.program()
        return True

    def momentum(self) -> float:
        """Of the average: short at first, so that the beginning is soon forgotten."""
        return min(self.training.ema, (1 + self.step) / (10 + self.step))


def numbers(variable: keras.Variable) -> np.ndarray:
    """A variable's values; PyTorch's without the detour on which NumPy warns."""
    value = variable.value
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def averages(path: Path, name: str) -> dict[str, np.ndarray]:
    """The averaged weights of one network of a checkpoint, by key."""
    prefix = f"average/{name}/"
    with np.load(path) as file:
        return {k.removeprefix(prefix): file[k] for k in file.files if k.startswith(prefix)}


def load_average(path: Path, networks: dict[str, Network]) -> None:
    """Give the networks the averaged weights of a checkpoint."""
    for name, network in networks.items():
        values = averages(path, name)
        if any(v._value is None for v in network.variables):
            network.initialize(0)
        for key, variable in keys(network).items():
            variable.assign(values[key])


def jax_step(trainer: Trainer) -> Callable[[Sequence[np.ndarray]], dict]:
    """The training step as one compiled program; values live on the device between steps."""
    import jax

    variables, optimizer = trainer.variables, trainer.optimizer

    def objective(values: list, batch: tuple) -> tuple:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return trainer.loss(*batch)

    def update(values: list, state: list, average: list, momentum: float, batch: tuple) -> tuple:
        (_, report), gradients = jax.value_and_grad(objective, has_aux=True)(values, batch)
        values, state = optimizer.stateless_apply(state, gradients, values)
        average = [a + (1 - momentum) * (v - a) for a, v in zip(average, values, strict=True)]
        return values, state, average, report

    compiled = jax.jit(update, donate_argnums=(0, 1, 2))

    def step(batch: Sequence[np.ndarray]) -> dict:
        values = [v.value for v in variables]
        state = [v.value for v in optimizer.variables]
        average = [jax.numpy.asarray(a) for a in trainer.average]
        values, state, trainer.average, report = compiled(
            values, state, average, trainer.momentum(), tuple(batch)
        )
        updated = zip((*variables, *optimizer.variables), (*values, *state), strict=True)
        for variable, value in updated:
            variable._value = value  # the old one was donated
        return report

    return step


def torch_step(trainer: Trainer) -> Callable[[Sequence[np.ndarray]], dict]:
    """The training step, eager."""
    import torch

    values = [v.value for v in trainer.variables]
    average = [torch.tensor(a) for a in trainer.average]
    trainer.average = average

    def step(batch: Sequence[np.ndarray]) -> dict:
        loss, report = trainer.loss(*(torch.as_tensor(part) for part in batch))
        loss.backward()
        gradients = [value.grad for value in values]
        with torch.no_grad():
            trainer.optimizer.apply(gradients, trainer.variables)
            torch._foreach_lerp_(average, values, 1 - trainer.momentum())
        for value in values:
            value.grad = None
        return {name: float(value.detach()) for name, value in report.items()}

    return step


def prepare(config: Configuration) -> None:
    """Let the networks compute as is best for training on this backend."""
    if keras.backend.backend() == "torch" and config.fused:
        from recipes.mini import fused

        fused.prepare(copies=TOKENS - config.caption_length + 1)
