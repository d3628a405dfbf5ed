"""Programs for OpenVINO: results, trees of arrays, new weights, and what stays in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from keras import ops
from openvino_networks import dense, inputs, small_unet, unet_result

from sfumato import runtime
from sfumato.kernels import store

pytestmark = pytest.mark.backend("openvino")


class Pair(NamedTuple):
    first: Any
    second: Any


def test_network_agrees_with_jax(jax_result: np.ndarray) -> None:
    assert np.abs(unet_result() - jax_result).max() <= 1e-5 * np.abs(jax_result).max()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 5e-3), ("mixed_bfloat16", 5e-2)])
def test_half_precision(dtype: str, tolerance: float, jax_result: np.ndarray) -> None:
    difference = np.abs(unet_result(small_unet(dtype)) - jax_result).max()
    assert 0 < difference <= tolerance * np.abs(jax_result).max()


def test_trees_with_absent_leaves() -> None:
    def function(pair: Pair, more: list[Any]) -> tuple[Pair, list[Any]]:
        first, second = pair
        total = first if second is None else first + second
        return Pair(total, None), [more[0], {"twice": 2 * total}]

    program = runtime.compile(function, [], True)
    one, two = np.ones((2, 3), "float32"), np.full((2, 3), 2, "float32")
    for second, total in ((None, 1), (two, 3), (None, 1)):
        pair, (same, found) = program(Pair(one, second), [np.int32(7)])
        assert isinstance(pair, Pair)
        assert pair.second is None
        assert np.all(pair.first == total)
        assert np.all(found["twice"] == 2 * total)
        assert same == 7
        assert same.dtype == np.int32
    assert program.traces == 2


def test_tensors_and_views_are_inputs() -> None:
    program = runtime.compile(lambda x: x + 1, [], True)
    x = np.arange(24, dtype="float32").reshape(4, 6)
    np.testing.assert_array_equal(program(ops.convert_to_tensor(x)), x + 1)
    np.testing.assert_array_equal(program(x.reshape(6, 4).T), x.reshape(6, 4).T + 1)
    np.testing.assert_array_equal(program(x[:, ::2]), x[:, ::2] + 1)


def test_results_are_not_overwritten() -> None:
    program = runtime.compile(lambda x: x + 1, [], True)
    first = program(np.zeros(3, "float32"))
    program(np.ones(3, "float32"))
    np.testing.assert_array_equal(first, np.ones(3))


def test_bfloat16_goes_from_program_to_program() -> None:
    program = runtime.compile(lambda x: 2 * ops.cast(x, "bfloat16"), [], True)
    x = program(np.array([1.5, -3.0], "float32"))
    assert x.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(program(x).astype("float32"), [6.0, -12.0])


def test_new_weights_are_seen() -> None:
    layer = dense()
    program = runtime.compile(layer, [layer], True)
    x = np.ones((1, 3), "float32")
    for value in (1.0, 2.0):
        layer.kernel.assign(np.full((3, 2), value))
        np.testing.assert_allclose(program(x), [[3 * value] * 2])
    store(layer.kernel, np.full((3, 2), 5.0, "float32"))
    np.testing.assert_allclose(program(x), [[15.0, 15.0]])
    program(x)
    assert program.traces == 3


def test_few_executables_stay_in_memory() -> None:
    program = runtime.compile(lambda x: x + 1, [], True)
    for size in (1, 2, 3, 1, 3, 1):
        assert program(np.zeros(size, "float32")).shape == (size,)
    assert program.traces == 4
    assert len(program.executables) == 2


def test_executables_stay_for_each_combination_of_static_values() -> None:
    program = runtime.compile(lambda x, **ways: x + len(ways), [], True)

    def traces(size: int, **static: Any) -> int:
        before = program.traces
        program(np.zeros(size, "float32"), **static)
        return program.traces - before

    sizes, ways = (1, 2), ({}, {"keep": True}, {"token_merging": 0.5})
    assert sum(traces(size, **way) for way in ways for size in sizes) == 6
    assert sum(traces(size, **way) for way in ways for size in sizes) == 0
    assert traces(1, keep=True, token_merging=0.5) == 1  # a third: the one unused longest goes
    assert sum(traces(size) for size in sizes) == 0
    assert sum(traces(size, token_merging=0.5) for size in sizes) == 0
    assert sum(traces(size, keep=True) for size in sizes) == 2
    assert traces(1, keep=True, token_merging=0.5) == 1
    assert len(program.executables) == 5


def test_fit_says_which_backends_train() -> None:
    with pytest.raises(NotImplementedError, match="KERAS_BACKEND to 'jax'"):
        small_unet().fit(inputs(), inputs()[0])
