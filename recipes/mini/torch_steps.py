"""Steps of a training on PyTorch: one after the other, each operation for itself.

This is the way of a CPU, whose matrix units PyTorch's convolutions and products use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
import numpy as np
import torch

if TYPE_CHECKING:
    from recipes.mini.training import Trainer

Tensor = torch.Tensor


class Random:
    """Draws random numbers, others at every call."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """From 0 up to 1."""
        return torch.rand(shape, generator=self.generator)

    def integers(self, count: int, shape: tuple[int, ...]) -> Tensor:
        """From 0 up to ``count``."""
        return torch.randint(count, shape, generator=self.generator)


def precision(dtype: str) -> str:
    """The precision of a training whose configuration says ``dtype``: a CPU that multiplies
    bfloat16 in hardware trains in it."""
    return "mixed_bfloat16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else dtype


def tensor(array: np.ndarray) -> Tensor:
    """A copy."""
    return torch.tensor(array)


def insert(arrays: tuple[Tensor, ...], batch: tuple[np.ndarray, ...], place: int) -> tuple:
    """Put a batch into the arrays of a pool."""
    for array, part in zip(arrays, batch, strict=True):
        array[place : place + len(part)] = torch.from_numpy(part)
    return arrays


def inferring(network: Callable) -> Callable:
    """The network's function, without gradients."""
    return torch.no_grad()(network)


def split(vector: Tensor, ends: np.ndarray) -> tuple[Tensor, ...]:
    return vector.split(np.diff(ends, prepend=0, append=len(vector)).tolist())


def compiled(trainer: Trainer, _: tuple) -> Callable[[tuple], dict[str, Tensor]]:
    """The function that makes ``chunk`` steps with the samples of a pool and returns the means of
    what the loss reports. Values, average and the optimizer's state are changed in place."""
    t, kept = trainer.training, trainer.optimizer
    variables = list(trainer.variables.values())
    frozen = [(v, v.value.detach()) for v in trainer.fixed]
    vector = trainer.values.requires_grad_()
    betas, weight_decay = (kept.beta_1, kept.beta_2), kept.weight_decay
    adam = torch.optim.AdamW([vector], betas=betas, weight_decay=weight_decay, fused=True)
    iterations, _, momentum, velocity = kept.variables
    adam.state[vector] = {
        "step": torch.tensor(float(iterations.value)),
        "exp_avg": momentum.value.data,
        "exp_avg_sq": velocity.value.data,
    }

    def update(step: int, batch: tuple) -> dict[str, Tensor]:
        values = trainer.parts(vector, split)
        pairs = [*zip(variables, values, strict=True), *frozen]
        with keras.StatelessScope(state_mapping=pairs):
            loss, report = trainer.loss(*batch)
        vector.grad = None
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vector, kept.global_clipnorm)
        adam.step()
        memory = min(t.ema, (1 + step) / (10 + step))
        trainer.average.lerp_(vector.detach(), 1 - memory)
        return {name: value.detach() for name, value in report.items()}

    def run(samples: tuple) -> dict[str, Tensor]:
        (pool, filled), random = samples, Random(trainer.step)
        adam.param_groups[0]["lr"] = trainer.rate
        reports = []
        for step in range(trainer.step, trainer.step + t.chunk):
            chosen = random.integers(filled, (t.batch,))
            batch = trainer.draw(random, *(part[chosen] for part in pool))
            reports.append(update(step, batch))
        kept.learning_rate.assign(trainer.rate)
        iterations.assign(iterations.value + t.chunk)
        return {name: torch.stack([r[name] for r in reports]).mean() for name in reports[0]}

    return run
