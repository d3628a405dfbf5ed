"""The same operations in PyTorch, eager.

They are Sfumato's: queries, keys and values from one matmul, where diffusers has three.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.kinds import inputs_of, seconds_of
from benchmarks.operations import Operation


def prepare(
    operation: Operation, batch: int, dtype: str, device: str, channels_last: bool = False
) -> Callable[[], float]:
    """One operation for a batch: a function that returns its seconds."""
    make = partial(torch.randn, dtype=getattr(torch, dtype), device=device)
    inputs = [make(*shape) for shape in inputs_of(operation, batch)]
    if operation.kind == "convolution" or (operation.kind == "norm" and operation.shape[2]):
        inputs = [x.permute(0, 3, 1, 2) for x in inputs]  # of memory that is channels last
        if not channels_last:
            inputs = [x.contiguous() for x in inputs]
    run = function_of(operation, inputs, make, channels_last)

    def wait(_: Any) -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    return partial(seconds_of, run, wait, 10 if device == "cuda" else 1)


def function_of(
    operation: Operation, inputs: list[Any], make: Callable[..., Any], channels_last: bool
) -> Callable[[], Any]:
    shape = operation.shape
    if operation.kind == "convolution":
        _, _, width_in, width, stride = shape
        kernel, bias = make(width, width_in, 3, 3), make(width)
        if channels_last:
            kernel = kernel.to(memory_format=torch.channels_last)
        return lambda: F.conv2d(inputs[0], kernel, bias, stride, 1)
    if operation.kind == "linear":
        kernel, bias = make(shape[2], shape[1]), make(shape[2])
        return lambda: F.linear(inputs[0], kernel, bias)
    if operation.kind == "attention":
        q, k, v = (x.transpose(1, 2) for x in inputs)
        return lambda: F.scaled_dot_product_attention(q, k, v)
    _, width, groups = shape
    gamma, beta = make(width), make(width)
    if groups:
        return lambda: F.silu(F.group_norm(inputs[0], groups, gamma, beta, 1e-5))
    return lambda: F.layer_norm(inputs[0], (width,), gamma, beta, 1e-5)
