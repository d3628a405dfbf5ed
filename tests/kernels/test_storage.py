"""How a weight is stored: what it is afterwards, what it was before, and in which memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from sfumato import kernels, runtime
from sfumato.networks.layers import Conv3x3, linear
from sfumato.networks.network import Network

pytestmark = pytest.mark.backend("jax", "tensorflow", "torch", "openvino")

POLICIES = ["float32", "float16", "bfloat16", "mixed_float16"]


class Alone(Network):
    """A network of one layer, so that it is built without values."""

    def compose(self, config: Any) -> None:
        self.layer = config()

    def call(self, x: Any) -> Any:
        return self.layer(x)


def unfilled(policy: str = "float32") -> Any:
    """The kernel of a layer, without a value."""
    return Alone(partial(Conv3x3, 3, 5), policy).layer.kernel


def drawn(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def value_of(variable: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(variable))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("as_tensor", [False, True])
def test_what_is_stored_is_read_and_put_back(policy: str, as_tensor: bool) -> None:
    variable = unfilled(policy)
    values = [drawn(variable.shape, variable.dtype, seed) for seed in range(3)]
    given = [ops.convert_to_tensor(value) if as_tensor else value for value in values]
    before = [kernels.store(variable, value) for value in given]
    assert before[0] is None
    assert np.array_equal(value_of(variable), values[2])
    for previous, value in zip(before[:0:-1], values[1::-1], strict=True):
        kernels.restore(variable, previous)
        assert np.array_equal(value_of(variable), value)
    kernels.restore(variable, before[0])
    assert variable._value is None


def test_other_dtypes_become_the_variables() -> None:
    variable, value = unfilled("float16"), drawn((3, 3, 3, 5), "float32")
    for stored in (value, 2 * value):
        kernels.store(variable, stored)
        assert np.array_equal(value_of(variable), stored.astype("float16"))


def test_a_value_does_not_change_the_one_before() -> None:
    """What is put back has been nobody else's in the meantime."""
    variable = unfilled()
    value = drawn(variable.shape, "float32")
    kernels.store(variable, value.copy())
    first = kernels.store(variable, np.zeros_like(value))
    variable.assign(np.ones_like(value))
    kernels.restore(variable, first)
    assert np.array_equal(value_of(variable), value)


def test_programs_see_what_is_stored_and_restored() -> None:
    network = Alone(partial(linear, 4, 3, bias=False))
    variable = network.layer.kernel
    values = [drawn(variable.shape, "float32", seed) for seed in range(2)]
    kernels.store(variable, values[0])
    program = runtime.compile(network, [network], True)
    x = np.eye(4, dtype="float32")
    first = ops.convert_to_numpy(program(x)).copy()
    previous = kernels.store(variable, values[1])
    assert np.abs(ops.convert_to_numpy(program(x)) - values[1]).max() < 1e-6
    kernels.restore(variable, previous)
    assert np.array_equal(ops.convert_to_numpy(program(x)), first)


@pytest.mark.parametrize("shape", [(3, 3, 5, 3), (3, 5), ()])
def test_shapes_must_agree(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"`value` must have the shape .* Received: value of"):
        kernels.store(unfilled(), np.zeros(shape, "float32"))


@pytest.mark.parametrize("is_kernel", [False, True])
def test_empty_memory_has_the_shape_and_comes_from_where_it_should(is_kernel: bool) -> None:
    asked = []

    def allocate(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        asked.append(int(np.prod(shape)))
        return np.zeros(shape, dtype)

    memory = kernels.empty((3, 3, 4, 5), np.dtype("float16"), is_kernel, allocate)
    assert (memory.shape, memory.dtype, asked) == ((3, 3, 4, 5), "float16", [180])
    assert memory.transpose(
        ORDERS[keras.backend.backend()] if is_kernel else (0, 1, 2, 3)
    ).flags.c_contiguous


ORDERS = {
    "jax": (0, 1, 2, 3),
    "tensorflow": (0, 1, 2, 3),
    "torch": (3, 0, 1, 2),
    "openvino": (3, 2, 0, 1),
}
"""The axes of a kernel (h, w, I, O) as they lie in memory."""
