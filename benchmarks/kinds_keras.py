"""Sfumato's layers, each compiled by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks.kinds import inputs_of, seconds_of
from benchmarks.operations import Operation
from sfumato import runtime
from sfumato.kernels import attention
from sfumato.networks.layers import Conv3x3, activate, group_norm, layer_norm, linear
from sfumato.networks.network import Network


class Alone(Network):
    """A network of one layer, so that its weights are inputs of the program as they are in whole
    networks."""

    def compose(self, config: Operation) -> None:
        self.layer = layer_of(config)

    def call(self, x: Any) -> Any:
        grouped = self.config.kind == "norm" and self.config.shape[2]
        return activate(self.layer, x) if grouped else self.layer(x)


def layer_of(operation: Operation) -> Any:
    shape = operation.shape
    if operation.kind == "convolution":
        _, _, width_in, width, stride = shape
        return Conv3x3(width_in, width, stride)
    if operation.kind == "linear":
        return linear(shape[1], shape[2])
    _, width, groups = shape
    return group_norm(width, groups, 1e-5) if groups else layer_norm(width)


def prepare(operation: Operation, batch: int, dtype: Any) -> Callable[[], float]:
    """One operation for a batch, compiled by itself: a function that returns its seconds."""
    compute = keras.dtype_policies.get(dtype).compute_dtype
    random = np.random.default_rng(0)
    arrays = [
        ops.cast(random.standard_normal(shape, "float32"), compute)
        for shape in inputs_of(operation, batch)
    ]
    is_openvino = keras.backend.backend() == "openvino"
    if is_openvino:  # whose programs take NumPy
        arrays = [ops.convert_to_numpy(x) for x in arrays]
    networks: list[Any] = []
    function: Any = attention
    if operation.kind != "attention":
        network = Alone(operation, dtype)
        network.initialize(0)
        networks, function = [network], network.call
    program = runtime.compile(lambda *x: reduce(function(*x)), networks, True)
    calls = 10 if is_accelerated() else 1
    wait = lambda result: ops.convert_to_numpy(result[1])  # noqa: E731
    run = in_place(program, arrays) if is_openvino else lambda: program(*arrays)
    return partial(seconds_of, run, wait, calls)


def is_accelerated() -> bool:
    """Whether calls may be sent to a device of JAX before waiting for them."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.default_backend() != "cpu"


def in_place(program: Any, arrays: Sequence[np.ndarray]) -> Callable[[], Any]:
    """A call of an OpenVINO program that leaves the result where it is, as layers within do; the
    program itself hands out a copy."""
    program(*arrays)
    [executable] = program.executables.values()
    request = executable.run.create_infer_request()
    given = dict(enumerate([*arrays, *executable.kernels]))
    run = partial(request.infer, given, share_inputs=True, share_outputs=True)
    return lambda: [*run().values()]


def reduce(x: Any) -> tuple[Any, Any]:
    """The result, and a number that is small to fetch and cannot be known without it."""
    return x, ops.reshape(x, (-1,))[0]
