"""The cases of ``test_openvino``, collected by name under ``KERAS_BACKEND=openvino``.

Run as a program it paints with a small network and writes what came out and how often OpenVINO
compiled: ``python openvino_cases.py OUT``.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import ops

from sfumato import runtime
from sfumato.kernels import store as give
from sfumato.networks.configs import UNetConfig
from sfumato.networks.unet import UNet

CONFIG = UNetConfig(
    channels=(32, 64),
    down=((1,), (0,)),
    mid=(1, 0),
    up=((0, 0), (1, 1)),
    heads=(4, 4),
    context_width=24,
    groups=8,
)


def small_unet(dtype: str = "float32") -> UNet:
    unet = UNet(CONFIG, dtype=dtype)
    unet.initialize(1)
    return unet


def inputs() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    shapes = (2, 8, 6, 4), (2, 32), (2, 7, 24)
    return [random.standard_normal(shape, "float32") for shape in shapes]


def unet_result(unet: UNet | None = None) -> np.ndarray:
    unet = unet or small_unet()
    program = runtime.compile(lambda *x: ops.cast(unet(list(x)), "float32"), [unet], True)
    return ops.convert_to_numpy(program(*inputs()))


def count_compilations() -> Counter[str]:
    """From now on: how often OpenVINO compiles a model, and how often it imports one."""
    import openvino

    counts: Counter[str] = Counter()

    def counted(name: str) -> Callable[..., Any]:
        method = getattr(openvino.Core, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return method(*args, **kwargs)

        return call

    for name in ("compile_model", "import_model"):
        setattr(openvino.Core, name, counted(name))
    return counts


def dense() -> Any:
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    layer.kernel.assign(np.arange(6).reshape(3, 2))
    return layer


def result_of(layer: Any) -> np.ndarray:
    return runtime.compile(layer, [layer], True)(np.ones((1, 3), "float32"))


class Pair(NamedTuple):
    first: Any
    second: Any


def test_network_agrees_with_jax() -> None:
    expected = np.load(os.environ["SFUMATO_TEST_UNET"])
    assert np.abs(unet_result() - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 5e-3), ("mixed_bfloat16", 5e-2)])
def test_half_precision(dtype: str, tolerance: float) -> None:
    expected = np.load(os.environ["SFUMATO_TEST_UNET"])
    difference = np.abs(unet_result(small_unet(dtype)) - expected).max()
    assert 0 < difference <= tolerance * np.abs(expected).max()


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
    give(layer.kernel, np.full((3, 2), 5.0, "float32"))
    np.testing.assert_allclose(program(x), [[15.0, 15.0]])
    program(x)
    assert program.traces == 3


def test_few_executables_stay_in_memory() -> None:
    program = runtime.compile(lambda x: x + 1, [], True)
    for size in (1, 2, 3, 1, 3, 1):
        assert program(np.zeros(size, "float32")).shape == (size,)
    assert program.traces == 4
    assert len(program.executables) == 2


def test_fit_says_which_backends_train() -> None:
    with pytest.raises(NotImplementedError, match="KERAS_BACKEND to 'jax'"):
        small_unet().fit(inputs(), inputs()[0])


def layer_types(run: Any) -> Counter[str]:
    """How many of OpenVINO's own layers of each kind compute in int8, and how many in float32."""
    found: Counter[str] = Counter()
    for node in run.get_runtime_model().get_ordered_ops():
        information = node.get_rt_info()
        kind = str(information["layerType"].astype(str))
        if kind in ("Convolution", "FullyConnected", "Interpolate", "Transpose", "Reorder"):
            found[f"{kind} {str(information['primitiveType'].astype(str))[-3:].lower()}"] += 1
    return found


if __name__ == "__main__":
    found = count_compilations()
    painted = unet_result()
    np.savez(sys.argv[1], result=painted, names=list(found), counts=list(found.values()))
