"""Kernels for PyTorch.

Keras copies a map to channels first and back around every convolution, adds biases in a pass of
their own and normalises in several. PyTorch reads maps with their channels last where they lie.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import torch
from keras import ops
from torch.nn import functional

from sfumato.kernels import common, torch_gradients

Tensor = torch.Tensor

MATMUL = 64  # positions of a map up to which a 3x3 convolution is a matmul on a CPU


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    if torch_gradients.are_wanted(q, k, v) and torch_gradients.attends_plainly(q, k):
        return torch_gradients.attention(q, k, v, causal)
    return common.attention(q, k, v, causal)


def conv3x3(
    x: Tensor, kernel: Tensor, bias: Tensor, stride: int = 1, padding: tuple[int, int] = (1, 1)
) -> Tensor:
    if stride == 1 and on_cpu(x) and common.is_small_and_deep(x, MATMUL):
        return common.conv3x3_by_matmul(x, kernel) + bias
    before, after = padding
    if before != after:
        x, before = ops.pad(x, ((0, 0), padding, padding, (0, 0))), 0
    y = functional.conv2d(channels_first(x), kernel.permute(3, 2, 0, 1), bias, stride, before)
    return y.permute(0, 2, 3, 1)


def conv3x3_enlarged(
    x: Tensor, kernel: Tensor, bias: Tensor, height: int | None, width: int | None
) -> Tensor:
    if on_cpu(x) and common.is_whole(x, height, width) and common.differences_pay(x):
        return common.conv3x3_by_differences(x, kernel) + bias
    return conv3x3(common.enlarged(x, height, width), kernel, bias)


def split_linear(x: Tensor, kernel: Tensor, bias: Tensor | None, count: int) -> list[Tensor]:
    """The bias is added within the product, not in another pass over the result."""
    return ops.split(functional.linear(x, kernel.T, bias), count, axis=-1)


def group_norm(x: Tensor, gamma: Tensor, beta: Tensor, groups: int, epsilon: float) -> Tensor:
    if torch_gradients.are_wanted(x, gamma):
        return torch_gradients.group_norm(x, gamma, beta, groups, epsilon)
    y = functional.group_norm(channels_first(x), groups, gamma, beta, epsilon)
    return y.permute(0, 2, 3, 1)


def channels_first(x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, C, H, W), the same memory."""
    return x.permute(0, 3, 1, 2)


def on_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu"


# How a weight is stored: a kernel has Keras' shape (h, w, I, O), and (O, h, w, I) is its order in
# memory, so that no convolution has to turn it. Graphs hold on to the parameter, so it stays where
# it is. Other memory is put into it, since Keras would write to that which may be put back.


@torch.inference_mode(False)  # of the caller, in which a parameter would never be trainable
def store(variable: Any, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = tensor_of(value)
    if value.is_inference():
        value = value.clone()
    value = ops.convert_to_tensor(value, dtype=variable.dtype)
    if common.is_kernel(variable):
        value = value.movedim(-1, 0).contiguous().movedim(0, -1)
    if variable._value is None:
        common.initialize(variable, value)
        return None
    previous = variable._value.data
    variable._value.data = value.detach()
    return previous


def restore(variable: Any, previous: Any) -> None:
    if previous is None:
        variable._value = None
    else:
        variable._value.data = previous


witness = common.row


def tensor_of(value: np.ndarray) -> Tensor:
    """An array as a tensor that shares its memory."""
    if value.dtype == ml_dtypes.bfloat16:  # NumPy's is unknown to PyTorch
        return torch.from_numpy(value.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(value)


def empty(
    shape: tuple[int, ...],
    dtype: np.dtype,
    is_kernel: bool,
    allocate: Callable[[tuple[int, ...], np.dtype], np.ndarray],
) -> np.ndarray:
    if not is_kernel:
        return allocate(shape, dtype)
    return np.moveaxis(allocate((shape[-1], *shape[:-1]), dtype), 0, -1)
