"""The cases of ``test_openvino`` about weights and the graph that is compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops
from openvino_cases import CONFIG, inputs, layer_types, small_unet, unet_result
from sfumato._openvino import data_of
from sfumato.runtime.int8 import constant_of
from sfumato.runtime.passes import stored_kernel

from sfumato import runtime
from sfumato.checkpoints.filling import fill
from sfumato.checkpoints.safetensors import read_safetensors, write_safetensors
from sfumato.kernels import store as give
from sfumato.networks.layers import Conv3x3, GroupNorm, LayerNorm, SelfAttention, Upsample
from sfumato.networks.network import keys
from sfumato.networks.unet import UNet
from sfumato.runtime import winograd
from sfumato.runtime.openvino import memory_left


def test_no_kernel_is_transposed() -> None:
    """OpenVINO gets every kernel in the order it wants: turning them took most of compiling."""
    unet = small_unet()
    program = runtime.compile(lambda *x: unet(list(x)), [unet], True)
    model, *_ = program.trace(tuple(inputs()), inputs())
    transposed = [
        node.input_value(0).get_node().get_type_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Transpose"
    ]
    assert transposed  # of the data, around convolutions and attention
    assert "Constant" not in transposed
    matmuls = [n for n in model.get_ordered_ops() if n.get_type_name() == "MatMul"]
    assert len(matmuls) > 20
    assert all(n.get_attributes()["transpose_b"] for n in matmuls)


def test_a_map_stays_where_it_is_between_convolutions() -> None:
    """Without ``keep_channels_first`` every convolution's result is copied twice."""
    layers = [Conv3x3(32, 32) for _ in range(3)]
    for layer in layers:
        layer.build((None, None, None, 32))
        layer.bias.assign(np.arange(32) / 32)
    first, second, third = layers

    def function(x: Any, shift: Any) -> Any:
        y = first(x) + shift
        return ops.concatenate([second(ops.silu(y)) + y, third(y) * 0.5], axis=-1)

    program = runtime.compile(function, layers, True)
    x = inputs()[0].repeat(8, axis=-1)
    given = (x, np.ones((1, 1, 1, 32), "float32"))
    model, *_ = program.trace(given, list(given))
    turned = [
        list(node.output(0).get_shape())
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Transpose" and node.output(0).get_shape()[0] == len(x)
    ]
    assert turned == [[2, 32, 8, 6], [2, 8, 6, 64]]  # what comes in, and what goes out

    def plain(x: np.ndarray, layer: Any) -> np.ndarray:
        return ops.convert_to_numpy(runtime.compile(layer, [layer], True)(x))

    y = plain(x, first) + 1
    silu = y / (1 + np.exp(-y))
    expected = np.concatenate([plain(silu, second) + y, plain(y, third) * 0.5], axis=-1)
    np.testing.assert_allclose(program(*given), expected, rtol=1e-4, atol=1e-4)


def built(layer: Any, *shape: int | None) -> Any:
    """The layer with random weights."""
    layer.build(shape)
    random = np.random.default_rng(7)
    for variable in layer.variables:
        give(variable, random.standard_normal(variable.shape).astype(variable.dtype))
    return layer


def results(function: Any, layers: list[Any], x: np.ndarray) -> tuple[np.ndarray, Any]:
    """Of a program, and the executable that gave it."""
    program = runtime.compile(function, layers, True)
    found = ops.convert_to_numpy(program(x))
    return found, next(iter(program.executables.values()))


def results_with_little_memory(*args: Any) -> tuple[np.ndarray, Any]:
    """The same where kernels are transformed at every call, and none are there yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "_transformed", {})
        patch.setattr("sfumato.runtime.openvino.memory_left", lambda: 0)
        return results(*args)


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
        patch.setattr("sfumato.runtime.openvino.use_winograd", lambda *_: [])
        expected, executable = results(layer, [layer], x)
    assert layer_types(executable.run)["Convolution f32"] == 1
    assert np.abs(found - expected).max() <= 5e-5 * np.abs(expected).max()


@pytest.mark.parametrize("to_a_skip", [False, True])
@pytest.mark.parametrize("shape", [(2, 5, 7, 64), (1, 33, 32, 96)])
def test_an_enlarged_map_is_convolved_without_being_made(
    shape: tuple[int, ...], to_a_skip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = built(Upsample(shape[-1]), *shape)
    skip = {"height": 2 * shape[1], "width": 2 * shape[2]} if to_a_skip else {}
    x = np.random.default_rng(8).standard_normal(shape).astype("float32")
    for strip in (winograd.STRIP, 1):
        monkeypatch.setattr(winograd, "STRIP", strip)
        found, executable = results(lambda x: layer(x, **skip), [layer], x)
        assert [len(kernel) for kernel in executable.kernels] == [9]
        assert not layer_types(executable.run)["Interpolate f32"]
        again, _ = results_with_little_memory(lambda x: layer(x, **skip), [layer], x)
        assert np.abs(again - found).max() <= 1e-6 * np.abs(found).max()
    monkeypatch.setattr("sfumato.runtime.openvino.use_winograd", lambda *_: [])
    expected, executable = results(lambda x: layer(x, **skip), [layer], x)
    kinds = layer_types(executable.run)
    assert kinds["Convolution f32"] == kinds["Interpolate f32"] == 1
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    enlarged = x.repeat(2, axis=1).repeat(2, axis=2)
    convolved, _ = results(layer.conv, [layer], enlarged)
    assert np.abs(found - convolved).max() <= 5e-5 * np.abs(convolved).max()


def test_an_enlarged_map_that_is_cut_is_convolved_as_it_is() -> None:
    layer = built(Upsample(64), 1, 8, 8, 64)
    x = np.random.default_rng(8).standard_normal((1, 8, 8, 64)).astype("float32")
    found, executable = results(lambda x: layer(x, height=15, width=16), [layer], x)
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
    monkeypatch.setattr("sfumato.runtime.openvino.use_winograd", lambda *_: [])
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
        monkeypatch.setattr("sfumato.runtime.openvino.memory_left", lambda: 0)  # none is needed
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
    give(layer.kernel, file.transpose(2, 3, 1, 0))
    x = np.ones((1, 8, 8, 64), "float32")
    found, executable = results_with_little_memory(layer, [layer], x)
    assert np.shares_memory(executable.kernels[0], file)
    assert executable.kernels[0].flags.writeable
    expected, _ = results(layer, [layer], x)
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


def test_memory_is_that_of_the_machine_or_its_container(tmp_path: Path) -> None:
    free = memory_left(tmp_path)
    assert 2**26 < free < 2**50
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_left(tmp_path) > free / 2  # others use memory, too
    (tmp_path / "memory").mkdir()
    for file in ("memory/memory.limit_in_bytes", "memory.max"):
        (tmp_path / file).write_text("1048576\n")
        assert memory_left(tmp_path) == 1048576
        (tmp_path / file).unlink()


@pytest.mark.parametrize("mean", [0.0, 3.0])
def test_norms_agree_with_keras(mean: float) -> None:
    """In float64 by the definition: Keras' own layers, which these replace, are no reference."""
    x = np.random.default_rng(9).standard_normal((2, 6, 5, 24)).astype("float32") + mean
    wide = x.astype("float64")
    norm = built(GroupNorm(8, -1, 1e-5), 2, 6, 5, 24)
    parts = wide.reshape(2, 30, 8, 3)
    parts = (parts - parts.mean((1, 3), keepdims=True)) / np.sqrt(
        parts.var((1, 3), keepdims=True) + 1e-5
    )
    gamma, beta = (ops.convert_to_numpy(v) for v in (norm.gamma, norm.beta))
    expected = parts.reshape(x.shape) * gamma + beta
    np.testing.assert_allclose(results(norm, [norm], x)[0], expected, rtol=1e-4, atol=1e-4)
    norm = built(LayerNorm(epsilon=1e-5), 2, 6, 5, 24)
    gamma, beta = (ops.convert_to_numpy(v) for v in (norm.gamma, norm.beta))
    scale = np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    expected = (wide - wide.mean(-1, keepdims=True)) / scale * gamma + beta
    np.testing.assert_allclose(results(norm, [norm], x)[0], expected, rtol=1e-4, atol=1e-4)


def test_projections_are_not_split_at_run_time() -> None:
    layer = SelfAttention(32, 4)
    layer.build()
    for variable in layer.variables:
        give(variable, np.random.default_rng(1).standard_normal(variable.shape).astype("float32"))
    found, executable = results(layer, [layer], np.ones((1, 8, 32), "float32"))
    assert found.shape == (1, 8, 32)
    kinds = layer_types(executable.run)
    assert kinds["FullyConnected f32"] == 4
    assert not any(kind.startswith("Split") for kind in kinds)


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32"])
def test_a_file_is_shared_and_not_widened(stored: str, tmp_path: Path) -> None:
    unet = small_unet()
    random = np.random.default_rng(3)
    values = {}
    for key, variable in keys(unet).items():
        shape = variable.shape
        if variable.name == "kernel":
            shape = (shape[-1], shape[-2], *shape[:-2])
        if ".to_qkv." in key:
            parts = np.split(random.standard_normal(shape), 3)
            names = (key.replace(".to_qkv.", f".to_{part}.") for part in "qkv")
            values |= dict(zip(names, parts, strict=True))
        else:
            values[key] = random.standard_normal(shape)
    written = {name: value.astype(stored) for name, value in values.items()}
    write_safetensors(tmp_path / "unet.safetensors", written)
    tensors = read_safetensors(tmp_path / "unet.safetensors")
    fill(unet, tensors)
    for key, variable in keys(unet).items():
        assert variable.dtype == "float32"
        if key in tensors:
            expected = tensors[key].astype("float32")
            if variable.name == "kernel":
                expected = expected.transpose(*range(2, expected.ndim), 1, 0)
            np.testing.assert_array_equal(ops.convert_to_numpy(variable), expected)
            kept = data_of(constant_of(stored_kernel(variable.value.output)[0]))
            assert kept.dtype == stored
            assert np.shares_memory(kept, tensors[key]) == (stored != "bfloat16")
    expected = unet_result(unet)
    for variable in unet.variables:
        give(variable, ops.convert_to_numpy(variable))  # in float32
    assert np.abs(unet_result(unet) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_weights_share_the_memory_they_are_given() -> None:
    unet = small_unet()
    file = np.ones((64, 32, 3, 3), "float32")  # (O, I, h, w), as checkpoints have it
    variable = keys(unet)["down_blocks.1.resnets.0.conv1.weight"]
    give(variable, file.transpose(2, 3, 1, 0))
    stored = variable.value.output.get_node().input_value(0).get_node().data
    assert np.shares_memory(stored, file)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_weights_read_back_as_given(dtype: str) -> None:
    unet = UNet(CONFIG, dtype=dtype)
    unet.initialize(1)
    for key in ("conv_in.weight", "conv_in.bias", "time_embedding.linear_1.weight"):
        variable = keys(unet)[key]
        value = np.random.default_rng(2).standard_normal(variable.shape).astype(variable.dtype)
        give(variable, value)
        found = ops.convert_to_numpy(variable)
        assert found.dtype == value.dtype
        np.testing.assert_array_equal(found, value)
