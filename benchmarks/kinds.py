"""Where the time of a step goes: every distinct layer timed by itself, times how often it occurs.

What a step takes beyond that sum (or less, where the compiler fuses across layers) is "other".
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks.operations import Operation, tally, unet_operations
from sfumato import runtime
from sfumato.networks.configs import UNetConfig
from sfumato.networks.kernels import attention
from sfumato.networks.layers import Conv3x3, Network, group_norm, layer_norm, linear

REPEATS = 3


class Alone(Network):
    """A network of one layer, so that its weights are inputs of the program as they are in whole
    networks."""

    def compose(self, config: Operation) -> None:
        self.layer = layer_of(config)

    def call(self, x: Any) -> Any:
        return ops.silu(self.layer(x)) if self.config.kind == "norm" else self.layer(x)


def layer_of(operation: Operation) -> Any:
    shape = operation.shape
    if operation.kind == "convolution":
        _, _, width_in, width, stride = shape
        return Conv3x3(width_in, width, stride)
    if operation.kind == "linear":
        return linear(shape[1], shape[2])
    _, width, groups = shape
    return group_norm(width, groups, 1e-5) if groups else layer_norm(width)


def inputs_of(operation: Operation, batch: int) -> list[tuple[int, ...]]:
    """The shapes of the arrays that the operation takes."""
    shape = operation.shape
    if operation.kind == "convolution":
        return [(batch, shape[0], shape[1], shape[2])]
    if operation.kind == "linear":
        return [(batch, shape[0], shape[1])]
    if operation.kind == "attention":
        queries, keys, heads, width = shape
        return [(batch, queries, heads, width), *[(batch, keys, heads, width)] * 2]
    positions, width, groups = shape
    side = int(positions**0.5)
    if groups and side * side == positions:
        return [(batch, side, side, width)]
    return [(batch, positions, 1, width) if groups else (batch, positions, width)]


def seconds_of(operation: Operation, batch: int, dtype: Any) -> float:
    """Seconds of one operation for a batch, compiled by itself."""
    compute = keras.dtype_policies.get(dtype).compute_dtype
    random = np.random.default_rng(0)
    arrays = [
        ops.cast(random.standard_normal(shape, "float32"), compute)
        for shape in inputs_of(operation, batch)
    ]
    if keras.backend.backend() == "openvino":  # whose programs take NumPy
        arrays = [ops.convert_to_numpy(x) for x in arrays]
    networks: list[Any] = []
    function: Any = attention
    if operation.kind != "attention":
        network = Alone(operation, dtype)
        network.initialize(0)
        networks, function = [network], network.call
    program = runtime.compile(lambda *x: reduce(function(*x)), networks, True)
    seconds = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        ops.convert_to_numpy(program(*arrays)[1])
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


def reduce(x: Any) -> tuple[Any, Any]:
    """The result, and a number that is small to fetch and cannot be known without it."""
    return x, ops.reshape(x, (-1,))[0]


def seconds_by_kind(config: UNetConfig, latent: int, batch: int, dtype: Any) -> dict[str, float]:
    """Seconds of the layers of one evaluation of the denoiser, by kind."""
    found: dict[str, float] = {}
    for operation, count in tally(unet_operations(config, latent, latent)).items():
        seconds = count * seconds_of(operation, batch, dtype)
        found[operation.kind] = found.get(operation.kind, 0.0) + seconds
    return found
