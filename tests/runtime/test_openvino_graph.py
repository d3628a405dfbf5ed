"""OpenVINO: how weights are stored, and the graph that is compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops
from openvino_networks import (
    CONFIG,
    built,
    inputs,
    layer_types,
    results,
    small_unet,
    unet_result,
)

from sfumato import runtime
from sfumato.checkpoints.filling import fill, holds
from sfumato.checkpoints.safetensors import read_safetensors, write_safetensors
from sfumato.checkpoints.save import export
from sfumato.finite import unsound_weight
from sfumato.kernels import read, store
from sfumato.networks.configs import TextEncoderConfig
from sfumato.networks.layers import Conv3x3, GroupNorm, LayerNorm, SelfAttention
from sfumato.networks.network import keys
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet
from sfumato.runtime.openvino.graph import constant_of, data_of
from sfumato.runtime.openvino.passes import stored_kernel

pytestmark = pytest.mark.backend("openvino")


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
        store(variable, np.random.default_rng(1).standard_normal(variable.shape).astype("float32"))
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
    shapes = set()
    for key, variable in keys(unet).items():
        assert variable.dtype == "float32"
        if key in tensors:
            expected = tensors[key].astype("float32")
            if variable.name == "kernel":
                expected = expected.transpose(*range(2, expected.ndim), 1, 0)
            np.testing.assert_array_equal(read(variable), expected)
            if variable.shape not in shapes:  # Keras takes long: it compiles a model
                np.testing.assert_array_equal(ops.convert_to_numpy(variable), expected)
            shapes.add(variable.shape)
            kept = data_of(constant_of(stored_kernel(variable.value.output)[0]))
            assert kept.dtype == stored
            assert np.shares_memory(kept, tensors[key]) == (stored != "bfloat16")
    expected = unet_result(unet)
    for variable in unet.variables:
        store(variable, read(variable))  # in float32
    assert np.abs(unet_result(unet) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_weights_share_the_memory_they_are_given() -> None:
    unet = small_unet()
    file = np.ones((64, 32, 3, 3), "float32")  # (O, I, h, w), as checkpoints have it
    variable = keys(unet)["down_blocks.1.resnets.0.conv1.weight"]
    store(variable, file.transpose(2, 3, 1, 0))
    stored = variable.value.output.get_node().input_value(0).get_node().data
    assert np.shares_memory(stored, file)


def test_weights_are_read_without_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saving, comparing, checking and growing a network: Keras would compile a model a kernel."""
    unet, text = small_unet(), TextEncoder(TextEncoderConfig(16, 1, 2, 32))
    text.initialize(0)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was compiled")

    with monkeypatch.context() as patch:
        patch.setattr("keras.src.backend.openvino.core.compile_model", refuse)
        tensors = export(unet)
        assert holds(unet, tensors)
        assert unsound_weight(unet) is None
        grown = text.grown(np.ones((2, 16), "float32"))
    kernel = keys(unet)["time_embedding.linear_1.weight"]
    written = tensors["time_embedding.linear_1.weight"]  # outputs first
    np.testing.assert_array_equal(written.T, ops.convert_to_numpy(kernel))
    table = read(grown.embeddings.token_embedding.embeddings)
    assert np.array_equal(table[-2:], np.ones((2, 16)))
    assert np.array_equal(table[:-2], read(text.embeddings.token_embedding.embeddings))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_weights_read_back_as_given(dtype: str) -> None:
    unet = UNet(CONFIG, dtype=dtype)
    unet.initialize(1)
    for key in ("conv_in.weight", "conv_in.bias", "time_embedding.linear_1.weight"):
        variable = keys(unet)[key]
        value = np.random.default_rng(2).standard_normal(variable.shape).astype(variable.dtype)
        store(variable, value)
        found = ops.convert_to_numpy(variable)
        assert found.dtype == value.dtype
        np.testing.assert_array_equal(found, value)
