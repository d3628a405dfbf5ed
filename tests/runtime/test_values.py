"""Weights under a mixed policy are cast once, and again when they change."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from sfumato.networks.layers import linear
from sfumato.networks.network import Network
from sfumato.runtime.jax import Program, values

pytestmark = pytest.mark.backend("jax")


class Small(Network):
    def compose(self, config: None) -> None:
        self.layer = linear(3, 2)

    def call(self, x: jax.Array) -> jax.Array:
        return self.layer(x)


def small(dtype: str) -> Small:
    network = Small(None, dtype)
    network.initialize(0)
    return network


def test_a_weight_is_cast_once() -> None:
    network = small("mixed_float16")
    read = values.reader([network])
    first, again = read(), read()
    assert [value.dtype for value in first] == ["float16", "float16"]
    assert all(a is b for a, b in zip(first, again, strict=True))
    assert values.reader([network])()[0] is first[0]  # also for another program


def test_a_new_value_is_cast_anew() -> None:
    network = small("mixed_bfloat16")
    read = values.reader([network])
    read()
    network.layer.kernel.assign(np.full((3, 2), 0.5))
    assert (read()[0] == 0.5).all()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_pure_policy_casts_nothing(dtype: str) -> None:
    network = small(dtype)
    assert values.reader([network])()[0] is network.layer.kernel._value


@pytest.mark.parametrize("jit_compile", [True, False])
def test_the_program_computes_what_the_network_does(jit_compile: bool) -> None:
    network = small("mixed_float16")
    x = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")
    program = Program(network.call, [network], jit_compile)
    assert (program(x) == network(x)).all()
    assert network.layer.kernel.dtype == "float32"  # as it was loaded, for training
