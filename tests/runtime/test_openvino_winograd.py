"""OpenVINO: convolutions in fewer products, against those that it computes itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import ops
from openvino_networks import built, layer_types, results

from sfumato import runtime
from sfumato.kernels import store
from sfumato.networks.layers import Conv3x3, Upsample
from sfumato.runtime.openvino import limit_memory, winograd

pytestmark = pytest.mark.backend("openvino")


def results_with_little_memory(*args: Any) -> tuple[np.ndarray, Any]:
    """The same where kernels are transformed at every call, and none are there yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "_transformed", {})
        limit_memory(0)
        try:
            return results(*args)
        finally:
            limit_memory(None)


@pytest.mark.parametrize(
    ("shape", "outputs", "way"),
    [
        ((2, 16, 8, 64), 96, winograd.F2),
        ((1, 9, 15, 96), 64, winograd.F2),
        ((2, 65, 66, 64), 64, winograd.F4),
        ((1, 67, 64, 64), 64, winograd.F4),
    ],
)
def test_winograd_is_the_convolution(
    shape: tuple[int, ...], outputs: int, way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = built(Conv3x3(shape[-1], outputs), *shape)
    x = np.random.default_rng(8).standard_normal(shape).astype("float32")
    for strip in (winograd.STRIP, 1):  # all at once, and row by row of tiles
        monkeypatch.setattr(winograd, "STRIP", strip)
        found, executable = results(layer, [layer], x)
        assert [len(kernel) for kernel in executable.kernels] == [len(way.inputs) ** 2]
        assert not layer_types(executable.run)["Convolution f32"]
        again, executable = results_with_little_memory(layer, [layer], x)
        assert [kernel.shape for kernel in executable.kernels] == [(outputs * shape[-1], 9)]
        assert np.abs(again - found).max() <= 1e-6 * np.abs(found).max()
    with monkeypatch.context() as patch:
        patch.setattr("sfumato.runtime.openvino.program.use_winograd", lambda *_: [])
        expected, executable = results(layer, [layer], x)
    assert layer_types(executable.run)["Convolution f32"] == 1
    assert np.abs(found - expected).max() <= 5e-5 * np.abs(expected).max()


@pytest.mark.parametrize("to_a_skip", [False, True])
@pytest.mark.parametrize("shape", [(2, 5, 7, 64), (1, 33, 32, 96)])
def test_an_enlarged_map_is_convolved_without_being_made(
    shape: tuple[int, ...], to_a_skip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = built(Upsample(shape[-1]), *shape)
    B, H, W, _ = shape
    skip = np.zeros((B, 2 * H, 2 * W, 1), "float32") if to_a_skip else None
    x = np.random.default_rng(8).standard_normal(shape).astype("float32")
    for strip in (winograd.STRIP, 1):
        monkeypatch.setattr(winograd, "STRIP", strip)
        found, executable = results(lambda x: layer(x, skip), [layer], x)
        assert [len(kernel) for kernel in executable.kernels] == [9]
        assert not layer_types(executable.run)["Interpolate f32"]
        again, _ = results_with_little_memory(lambda x: layer(x, skip), [layer], x)
        assert np.abs(again - found).max() <= 1e-6 * np.abs(found).max()
    monkeypatch.setattr("sfumato.runtime.openvino.program.use_winograd", lambda *_: [])
    expected, executable = results(lambda x: layer(x, skip), [layer], x)
    kinds = layer_types(executable.run)
    assert kinds["Convolution f32"] == kinds["Interpolate f32"] == 1
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    enlarged = x.repeat(2, axis=1).repeat(2, axis=2)
    convolved, _ = results(layer.conv, [layer], enlarged)
    assert np.abs(found - convolved).max() <= 5e-5 * np.abs(convolved).max()


def test_an_enlarged_map_that_is_cut_is_convolved_as_it_is() -> None:
    layer = built(Upsample(64), 1, 8, 8, 64)
    x = np.random.default_rng(8).standard_normal((1, 8, 8, 64)).astype("float32")
    skip = np.zeros((1, 15, 16, 1), "float32")
    found, executable = results(lambda x: layer(x, skip), [layer], x)
    assert [len(kernel) for kernel in executable.kernels] == [16]
    enlarged = x.repeat(2, axis=1).repeat(2, axis=2)[:, :15]
    expected, _ = results(layer.conv, [layer], enlarged)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_bfloat16"])
def test_winograd_in_half_precision(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Conv3x3(64, 64)
    layer.dtype_policy = dtype
    layer = built(layer, 1, 8, 8, 64)
    x = np.random.default_rng(8).standard_normal((1, 8, 8, 64)).astype("float32")
    found, executable = results(lambda x: ops.cast(layer(x), "float32"), [layer], x)
    assert len(executable.kernels) == 1
    again, _ = results_with_little_memory(lambda x: ops.cast(layer(x), "float32"), [layer], x)
    assert np.abs(again - found).max() <= 1e-2 * np.abs(found).max()
    monkeypatch.setattr("sfumato.runtime.openvino.program.use_winograd", lambda *_: [])
    expected, _ = results(lambda x: ops.cast(layer(x), "float32"), [layer], x)
    assert np.abs(found - expected).max() <= 1e-2 * np.abs(expected).max()


def test_winograd_leaves_other_convolutions() -> None:
    layers = [
        built(Conv3x3(64, 64, stride=2), 1, 32, 32, 64),
        built(Conv3x3(64, 64), 1, 7, 9, 64),
        built(Conv3x3(32, 64), 1, 32, 32, 32),
    ]
    for layer in layers:
        shape = (1, 7, 9, 64) if layer is layers[1] else (1, 32, 32, layer.kernel.shape[2])
        _, executable = results(layer, [layer], np.ones(shape, "float32"))
        assert executable.kernels == []
        assert layer_types(executable.run)["Convolution f32"] == 1


def test_transformed_kernels_are_shared_and_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(winograd._transformed)
    layer = built(Conv3x3(64, 64), 1, 8, 8, 64)
    program = runtime.compile(layer, [layer], True)
    for size in (8, 16):
        program(np.ones((1, size, size, 64), "float32"))
        monkeypatch.setattr("sfumato.runtime.openvino.memory._limit", 0)  # none is needed
    one, other = (executable.kernels[0] for executable in program.executables.values())
    assert one is other
    del one, other
    program.executables.clear()
    assert len(winograd._transformed) == before


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_with_little_memory_a_file_stays_where_it_is(dtype: str) -> None:
    """OpenVINO copies an input that must not be written to, as a mapped file's must not."""
    layer = built(Conv3x3(64, 64), 1, 8, 8, 64)
    file = np.random.default_rng(9).standard_normal((64, 64, 3, 3)).astype(dtype)
    file.flags.writeable = False
    store(layer.kernel, file.transpose(2, 3, 1, 0))
    x = np.ones((1, 8, 8, 64), "float32")
    found, executable = results_with_little_memory(layer, [layer], x)
    assert np.shares_memory(executable.kernels[0], file)
    assert executable.kernels[0].flags.writeable
    expected, _ = results(layer, [layer], x)
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()
