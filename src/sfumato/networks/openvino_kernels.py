"""Weights and norms in the form that OpenVINO is fastest with.

Keras normalises a map in another shape, which OpenVINO copies it for, in three passes. Here it is
read for its statistics and read again to be scaled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
import openvino.opset16 as opset
from keras import ops
from keras.src.backend.openvino.core import OPENVINO_DTYPES, OpenVINOKerasTensor, get_ov_output

from sfumato._openvino import NEAREST, constant
from sfumato.networks.kernels import Tensor

HALVES = ("float16", "bfloat16")


def weight(value: np.ndarray, dtype: str, kernel: bool) -> Any:
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
    is_turned = kernel and rank > 1
    stored = constant(np.ascontiguousarray(value.transpose(axes) if is_turned else value))
    if value.dtype.name != dtype:
        stored = opset.convert(stored, OPENVINO_DTYPES[dtype])
    if is_turned:
        stored = opset.transpose(stored, opset.constant(np.argsort(axes), ov.Type.i32))
    return OpenVINOKerasTensor(stored.output(0))


def group_norm(x: Tensor, gamma: Tensor, beta: Tensor, groups: int, epsilon: float) -> Tensor:
    """x (B, H, W, C), gamma and beta (C,) -> (B, H, W, C) (Wu & He 2018, arXiv 1803.08494)."""
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
    """x (..., C), gamma and beta (C,) -> (..., C) (Ba et al. 2016, arXiv 1607.06450)."""
    dtype, x = x.dtype, get_ov_output(ops.cast(x, "float32"))
    last = opset.constant([-1], ov.Type.i32)
    y = OpenVINOKerasTensor(opset.mvn(x, last, True, epsilon, "inside_sqrt").output(0))
    return ops.cast(y * ops.cast(gamma, "float32") + ops.cast(beta, "float32"), dtype)


def enlarge(x: Tensor) -> Tensor:
    """x (B, H, W, C) twice as large by nearest neighbour, as one operation that can be found."""
    scales, axes = opset.constant([2.0, 2.0], ov.Type.f32), opset.constant([1, 2], ov.Type.i32)
    y = opset.interpolate(get_ov_output(x), scales, axes=axes, **NEAREST)
    return OpenVINOKerasTensor(y.output(0))
