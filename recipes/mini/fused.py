"""PyTorch's training step as one compiled program, in bfloat16: several times as fast on a CPU.

Three things make it so. The step is traced once through Keras to a graph of plain operations,
which the compiler takes without a question; norms are written so that their passes over a map
merge with what follows; and convolutions and matmuls run in bfloat16 on the matrix units of newer
processors, while weights, norms and losses stay float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import torch
from torch.fx.experimental.proxy_tensor import make_fx

Tensor = torch.Tensor


def group_norm(self: Any, x: Tensor) -> Tensor:
    """Normalise groups by sums of channels: one pass that reads, one that writes."""
    B, _, _, C = x.shape
    wide = x.float()
    mean, square = wide.mean((1, 2)), wide.square().mean((1, 2))  # (B, C)
    mean, square = (t.reshape(B, self.groups, -1).mean(-1) for t in (mean, square))
    scale = torch.rsqrt(square - mean.square() + self.epsilon)
    scale = scale.repeat_interleave(C // self.groups, 1) * keras.ops.convert_to_tensor(self.gamma)
    mean = mean.repeat_interleave(C // self.groups, 1)
    shift = keras.ops.convert_to_tensor(self.beta) - mean * scale
    return (wide * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


def attention(copies: int) -> Callable:
    """Attention in plain operations; where keys and queries differ in number, the last key stands
    for ``copies`` of itself, as the padding of a caption does."""

    def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))  # (B, N, T, D)
        scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(2, 3)).float()
        T, S = scores.shape[-2:]
        if causal:
            future = torch.ones(T, S, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(future, -math.inf)
        elif T != S:
            weight = torch.zeros(S)
            weight[-1] = math.log(copies)
            scores = scores + weight
        return torch.matmul(scores.softmax(-1).to(v.dtype), v).transpose(1, 2)

    return attend


def prepare(copies: int = 1) -> None:
    """Let the networks use the forms above, in this process."""
    from sfumato.networks import autoencoder, layers, text_encoder

    layers.GroupNorm.call = group_norm
    for module in (autoencoder, layers, text_encoder):
        if hasattr(module, "attention"):
            module.attention = attention(copies)


def compile_loss(loss: Callable, variables: Sequence[Any], batch: Sequence[Tensor]) -> Callable:
    """loss(*batch) -> (scalar, dict of scalars) as a program of (values, *batch) for batches of
    these shapes; returns (names, program), the program gives the scalar and a list of scalars."""
    names: list[str] = []

    def objective(values: list[Tensor], *batch: Tensor) -> list[Tensor]:
        with (
            keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))),
            torch.autocast("cpu", torch.bfloat16),
        ):
            total, report = loss(*batch)
        names[:] = list(report)
        return [total, *(value.detach() for value in report.values())]

    values = [torch.nn.Parameter(v.value.detach().clone()) for v in variables]
    graph = make_fx(objective)(values, *batch)
    return names, torch.compile(graph, fullgraph=True, dynamic=False)


def step(trainer: Any) -> Callable[[Sequence[np.ndarray]], dict]:
    """The training step; compiled at the first batch."""
    values = [v.value for v in trainer.variables]
    average = [torch.tensor(a) for a in trainer.average]
    trainer.average = average
    compiled: list = []

    def run(batch: Sequence[np.ndarray]) -> dict:
        tensors = [torch.as_tensor(part) for part in batch]
        if not compiled:
            compiled[:] = compile_loss(trainer.loss, trainer.variables, tensors)
        names, program = compiled
        total, *report = program(values, *tensors)
        total.backward()
        gradients = [value.grad for value in values]
        with torch.no_grad():
            trainer.optimizer.apply(gradients, trainer.variables)
            torch._foreach_lerp_(average, values, 1 - trainer.momentum())
        for value in values:
            value.grad = None
        return dict(zip(names, (float(value) for value in report), strict=True))

    return run
