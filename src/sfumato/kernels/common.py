"""Kernels in ``keras.ops``, for backends without their own, and parts that several share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

Tensor = Any


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    return ops.dot_product_attention(q, k, v, is_causal=causal)


# Convolutions


def conv3x3(
    x: Tensor, kernel: Tensor, bias: Tensor, stride: int = 1, padding: tuple[int, int] = (1, 1)
) -> Tensor:
    if stride == 1:
        return ops.conv(x, kernel, 1, "same", "channels_last") + bias
    # "same" would choose the edges by the size of the map.
    x = ops.pad(x, ((0, 0), padding, padding, (0, 0)))
    return ops.conv(x, kernel, stride, "valid", "channels_last") + bias


def conv3x3_repeating(
    x: Tensor, kernel: Tensor, bias: Tensor, stride: int, padding: tuple[int, int], axes: str
) -> Tensor:
    """``conv3x3`` of a map that repeats along "x", "y" or "both", and ends in zeros elsewhere."""
    before, after = padding
    for axis, name in ((1, "y"), (2, "x")):
        if axes in (name, "both"):
            n, rest = x.shape[axis], (slice(None),) * axis
            ends = x[(*rest, slice(n - before, n))], x[(*rest, slice(0, after))]
            x = ops.concatenate([ends[0], x, ends[1]], axis)
        else:
            x = ops.pad(x, [padding if i == axis else (0, 0) for i in range(4)])
    return ops.conv(x, kernel, stride, "valid", "channels_last") + bias


def is_small_and_deep(x: Tensor, most: int) -> bool:
    """Whether a map has up to ``most`` positions and many channels: on a CPU its 3x3 convolution
    of stride 1 is faster by a matmul."""
    _, H, W, C = x.shape
    return bool(H and W and most >= H * W) and C >= 512


def conv3x3_by_matmul(x: Tensor, kernel: Tensor) -> Tensor:
    """The 3x3 "same" convolution of x (B, H, W, C) with (3, 3, C, F) as im2col and one matmul."""
    H, W, C = x.shape[1:]
    x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))  # (B, H + 2, W + 2, C)
    patches = [x[:, i : i + H, j : j + W] for i in range(3) for j in range(3)]
    return ops.matmul(ops.concatenate(patches, -1), ops.reshape(kernel, (9 * C, -1)))


# The convolution of a map that is made twice as large


def enlarged(x: Tensor, height: int | None, width: int | None) -> Tensor:
    """x (B, H, W, C) -> (B, 2H, 2W, C) by nearest neighbour, cut to a height and a width."""
    return cut(x, ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2), height, width)


def cut(x: Tensor, large: Tensor, height: int | None, width: int | None) -> Tensor:
    """``large``, which is x enlarged, cut unless it has that size."""
    return large if is_whole(x, height, width) else large[:, :height, :width]


def is_whole(x: Tensor, height: int | None, width: int | None) -> bool:
    """Whether nothing is cut off x (B, H, W, C) enlarged."""
    _, H, W, _ = x.shape
    return None in (height, width) or (height, width) == (2 * H, 2 * W)


def differences_pay(x: Tensor) -> bool:
    """Whether ``conv3x3_by_differences`` is faster on a CPU: in float32, for maps large enough to
    earn back that XLA compiles its products longer."""
    _, H, W, C = x.shape
    is_large = bool(H and W and H * W * C > 2**16)
    return is_large and keras.backend.standardize_dtype(x.dtype) == "float32"


def conv3x3_by_differences(x: Tensor, kernel: Tensor) -> Tensor:
    """The 3x3 "same" convolution with (3, 3, C, F) of x (B, H, W, C) enlarged twice by nearest
    neighbour, in a quarter of the products: (B, 2H, 2W, F).

    Along an axis with the taps a, b, c, a pixel x between p and q becomes a p + (b + c) x, which is
    (a + b + c) x - a (x - p), and (a + b) x + c q, which is (a + b + c) x + c (q - x).
    """
    H, W, F = *x.shape[1:3], kernel.shape[-1]
    x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))  # (B, H + 2, W + 2, C)

    # Nine products (B, H, W, F): of x and its differences along either axis.
    p = [
        [ops.matmul(part, taps) for part, taps in zip(differences(down, 2), sums(row), strict=True)]
        for down, row in zip(differences(x, 1), sums(kernel), strict=True)
    ]

    # Four of them make up each of the four pixels that x becomes.
    pixels = [[p[0][0] + p[0][j] + p[i][0] + p[i][j] for j in (1, 2)] for i in (1, 2)]
    y = ops.stack([ops.stack(row, axis=3) for row in pixels], axis=2)  # (B, H, 2, W, 2, F)
    return ops.reshape(y, (-1, 2 * H, 2 * W, F))


def differences(x: Tensor, axis: int) -> list[Tensor]:
    """The positions between the edges of an axis, and their differences to those next to them."""
    n, rest = x.shape[axis] - 2, (slice(None),) * axis
    before, on, behind = (x[(*rest, slice(i, i + n))] for i in range(3))
    return [on, on - before, behind - on]


def sums(taps: Tensor) -> list[Tensor]:
    """The factors of ``differences``: of taps (3, ...)."""
    return [taps[0] + taps[1] + taps[2], -taps[0], taps[2]]


# Linear layers and norms


def split_linear(x: Tensor, kernel: Tensor, bias: Tensor | None, count: int) -> list[Tensor]:
    y = ops.matmul(x, kernel)  # (..., F)
    return ops.split(y if bias is None else y + bias, count, axis=-1)


def group_norm(x: Tensor, gamma: Tensor, beta: Tensor, groups: int, epsilon: float) -> Tensor:
    """As ``keras.layers.GroupNormalization`` does it, in float32."""
    _, H, W, C = ops.shape(x)
    grouped = ops.reshape(x, (-1, H, W, groups, C // groups))  # (B, H, W, G, C / G)
    grouped = ops.cast(grouped, keras.backend.result_type(x.dtype, "float32"))
    mean, variance = ops.moments(grouped, axes=[1, 2, 4], keepdims=True)  # (B, 1, 1, G, 1)

    def in_groups(v: Tensor) -> Tensor:
        return ops.cast(ops.reshape(v, (1, 1, 1, groups, C // groups)), grouped.dtype)

    scale = ops.rsqrt(variance + epsilon) * in_groups(gamma)  # (B, 1, 1, G, C / G)
    shift = -mean * scale + in_groups(beta)
    return ops.reshape(ops.cast(grouped * scale + shift, x.dtype), ops.shape(x))


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> Tensor:
    """As ``keras.layers.LayerNormalization`` does it, in float32."""
    return ops.layer_normalization(x, gamma, beta, -1, epsilon)


# How a weight is stored

TAKES_VIEWS = False
TRAINS = True


def store(variable: Any, value: Any) -> Any:
    """For backends whose variables hold another object after an assignment."""
    previous = variable._value
    if previous is None:
        initialize(variable, ops.convert_to_tensor(value, dtype=variable.dtype))
    else:
        variable.assign(value)
    return previous


def initialize(variable: Any, value: Tensor) -> None:
    """The first value of a variable; Keras need draw none for it any more."""
    variable._initialize(value)
    variable._initializer = None


def restore(variable: Any, previous: Any) -> None:
    variable._value = previous


def read(variable: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(variable.value))


def witness(variable: Any) -> Any:
    return variable._value


def row(variable: Any) -> np.ndarray:
    """The last axis of a variable at the beginning of all others, copied."""
    return np.array(ops.convert_to_numpy(variable._value[(0,) * (len(variable.shape) - 1)]))


def empty(
    shape: tuple[int, ...],
    dtype: np.dtype,
    is_kernel: bool,
    allocate: Callable[[tuple[int, ...], np.dtype], np.ndarray],
) -> np.ndarray:
    return allocate(shape, dtype)


def is_kernel(variable: keras.Variable) -> bool:
    """Whether it is of a linear layer or a convolution, (..., I, O)."""
    return variable.name == "kernel"
