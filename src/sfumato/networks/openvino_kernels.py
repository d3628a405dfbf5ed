"""Norms in the form that OpenVINO is fastest with.

Keras normalises a map in another shape, which OpenVINO copies it for, in three passes. Here it is
read for its statistics and read again to be scaled.
"""

from __future__ import annotations

import openvino as ov
import openvino.opset16 as opset
from keras import ops
from keras.src.backend.openvino.core import OpenVINOKerasTensor, get_ov_output

from sfumato._openvino import NEAREST
from sfumato.networks.kernels import Tensor


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
