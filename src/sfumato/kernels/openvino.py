"""Kernels for OpenVINO, in operations that it need not copy for.

Keras normalises a map in another shape, which OpenVINO copies it for, in three passes. Here it is
read for its statistics and read again to be scaled. Convolutions are put into their fastest form
later, in the graph: see ``runtime.openvino``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import openvino as ov
import openvino.opset16 as opset
from keras import ops
from keras.src.backend.openvino.core import OPENVINO_DTYPES, OpenVINOKerasTensor, get_ov_output

from sfumato.kernels import common
from sfumato.runtime.openvino.graph import NEAREST, constant, constant_of, data_of
from sfumato.runtime.openvino.passes import stored_kernel

Tensor = Any


def conv3x3_enlarged(
    x: Tensor, kernel: Tensor, bias: Tensor, height: int | None, width: int | None
) -> Tensor:
    """The enlargement is one operation, so that ``runtime.openvino.winograd`` can find it."""
    scales, axes = opset.constant([2.0, 2.0], ov.Type.f32), opset.constant([1, 2], ov.Type.i32)
    large = opset.interpolate(get_ov_output(x), scales, axes=axes, **NEAREST).output(0)
    return common.conv3x3(common.cut(x, OpenVINOKerasTensor(large), height, width), kernel, bias)


def split_linear(x: Tensor, kernel: Tensor, bias: Tensor | None, count: int) -> list[Tensor]:
    """OpenVINO copies the parts of a result; those of a kernel are cut while it compiles."""
    parts = [ops.matmul(x, kernel) for kernel in ops.split(kernel, count, axis=-1)]
    if bias is None:
        return parts
    return [y + bias for y, bias in zip(parts, ops.split(bias, count), strict=True)]


def group_norm(x: Tensor, gamma: Tensor, beta: Tensor, groups: int, epsilon: float) -> Tensor:
    _, H, W, C = x.shape
    dtype, x = x.dtype, ops.cast(x, "float32")
    gamma, beta = (ops.reshape(ops.cast(v, "float32"), (groups, -1)) for v in (gamma, beta))

    grouped = ops.reshape(x, (-1, H, W, groups, C // groups))  # of rank 5: its sums are faster
    mean, squares = (ops.mean(v, (1, 2, 4), True) for v in (grouped, ops.square(grouped)))
    variance = ops.maximum(squares - ops.square(mean), 0.0)  # which rounding may take below

    scale = gamma * ops.rsqrt(variance + epsilon)  # (B, 1, 1, G, C / G)
    shift = beta - mean * scale
    scale, shift = (ops.reshape(v, (-1, 1, 1, C)) for v in (scale, shift))
    return ops.cast(x * scale + shift, dtype)


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> Tensor:
    dtype, x = x.dtype, get_ov_output(ops.cast(x, "float32"))
    last = opset.constant([-1], ov.Type.i32)
    y = OpenVINOKerasTensor(opset.mvn(x, last, True, epsilon, "inside_sqrt").output(0))
    return ops.cast(y * ops.cast(gamma, "float32") + ops.cast(beta, "float32"), dtype)


# How a weight is stored

TAKES_VIEWS = True
TRAINS = False
HALVES = ("float16", "bfloat16")


def empty(
    shape: tuple[int, ...],
    dtype: np.dtype,
    is_kernel: bool,
    allocate: Callable[[tuple[int, ...], np.dtype], np.ndarray],
) -> np.ndarray:
    if not is_kernel:
        return allocate(shape, dtype)
    *sides, width, outputs = shape
    return np.moveaxis(allocate((outputs, width, *sides), dtype), (0, 1), (-1, -2))


def store(variable: Any, value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return common.store(variable, value)
    previous = variable._value
    dtype = keras.backend.standardize_dtype(variable.dtype)
    variable._value = weight(value, dtype, common.is_kernel(variable))
    return previous


def weight(value: np.ndarray, dtype: str, is_kernel: bool) -> Any:
    """A tensor of the Keras OpenVINO backend from ``value``, sharing its memory.

    OpenVINO wants a kernel with its outputs first, as PyTorch's files have it, and turning (I, O)
    and (h, w, I, O) takes it most of the time of compiling. So that is the order in memory, and a
    transposition in the graph gives the kernel its Keras shape; ``runtime.openvino`` drops it.
    A view of memory in that order is taken as it is, half precision for float32 included: the graph
    widens it. Anything else is copied, and so is bfloat16.
    """
    if not (value.dtype.name in HALVES and dtype == "float32"):
        value = value.astype(dtype, copy=False)
    rank = value.ndim
    axes = (rank - 1, rank - 2, *range(rank - 2))  # (h, w, I, O) -> (O, I, h, w)
    is_turned = is_kernel and rank > 1
    stored = constant(np.ascontiguousarray(value.transpose(axes) if is_turned else value))
    if value.dtype.name != dtype:
        stored = opset.convert(stored, OPENVINO_DTYPES[dtype])
    if is_turned:
        stored = opset.transpose(stored, opset.constant(np.argsort(axes), ov.Type.i32))
    return OpenVINOKerasTensor(stored.output(0))


def read(variable: Any) -> np.ndarray:
    """From the memory where it lies: Keras would compile a model that turns it."""
    stored, order = stored_kernel(variable.value.output)
    if stored is None:
        return common.read(variable)
    return data_of(constant_of(stored)).transpose(order)
