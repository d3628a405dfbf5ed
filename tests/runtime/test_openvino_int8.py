"""OpenVINO in int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset16 as opset
import pytest
from openvino_networks import inputs, layer_types, small_unet, unet_result

from sfumato import runtime
from sfumato.kernels import read, store
from sfumato.networks.layers import SelfAttention
from sfumato.networks.network import keys
from sfumato.networks.unet import UNet
from sfumato.runtime.openvino import int8
from sfumato.stable_diffusion import StableDiffusion

pytestmark = pytest.mark.backend("openvino")


def quantized_unet(unet: UNet) -> Any:
    program = runtime.compile(lambda *x: unet(list(x)), [unet], True)
    runtime.quantize([program], lambda: program(*inputs()), "one call")
    return program


def test_int8_is_near_float32_and_is_int8(folder: Path) -> None:
    unet = small_unet()
    expected = unet_result(unet)
    program = quantized_unet(unet)
    result = program(*inputs())
    difference = np.sqrt(np.mean((result - expected) ** 2)) / expected.std()
    assert 1e-4 < difference < 0.1
    found = layer_types(next(iter(program.executables.values())).run)
    convolutions = {k: n for k, n in found.items() if k.startswith("Convolution")}
    assert convolutions["Convolution f32"] == 2  # the first and the last
    assert sum(convolutions.values()) > 8
    assert found["FullyConnected _i8"] > 8


def test_int8_is_measured_once_for_weights_and_settings(folder: Path) -> None:
    unet = small_unet()
    first = quantized_unet(unet)
    assert first.traces == 1
    program = runtime.compile(lambda *x: unet(list(x)), [unet], True)
    runtime.quantize([program], lambda: pytest.fail("measured again"), "one call")
    np.testing.assert_array_equal(program(*inputs()), first(*inputs()))
    called = []
    runtime.quantize([program], lambda: called.append(program(*inputs())), "another call")
    keys(unet)["conv_out.bias"].assign(np.ones(4))
    runtime.quantize([program], lambda: called.append(program(*inputs())), "another call")
    assert len(called) == 2


def test_int8_of_two_programs_is_measured_by_one_run_in_float32(folder: Path) -> None:
    unet = small_unet()
    expected = unet_result(unet)
    first = quantized_unet(unet)
    second = runtime.compile(lambda *x: unet(list(x)), [unet], True)
    found = []

    def run() -> None:
        found.extend((first(*inputs()), second(*inputs())))

    runtime.quantize([first, second], run, "both")
    for result in found:
        np.testing.assert_allclose(result, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(first(*inputs()), second(*inputs()))


def test_a_run_that_fails_leaves_float32(folder: Path) -> None:
    unet = small_unet()
    program = quantized_unet(unet)
    with pytest.raises(ZeroDivisionError):
        runtime.quantize([program], lambda: 1 / 0, "never")
    assert not program.is_int8
    assert program.observed() is None


def test_half_precision_in_files_is_quantised_under_a_mixed_policy(folder: Path) -> None:
    unet = small_unet("mixed_float16")
    for variable in unet.variables:
        store(variable, read(variable).astype("float16"))
    program = quantized_unet(unet)
    program(*inputs())
    found = layer_types(next(iter(program.executables.values())).run)
    assert sum(n for kind, n in found.items() if kind == "Convolution _i8") > 8


def test_positions_are_those_of_a_picture() -> None:
    """XL's embeddings are one row for each picture, so they are not quantised in any batch."""
    kernel = opset.constant(np.ones((8, 8), "float32"))
    for shape, count in (((4, 8), 1), ((4, 77, 8), 77), ((4, 2, 3, 8), 6)):
        node = opset.matmul(opset.parameter(shape, ov.Type.f32), kernel, False, True)
        assert int8.positions(node) == count


def test_int8_serves_other_shapes(folder: Path) -> None:
    unet = small_unet()
    program = quantized_unet(unet)
    latents, time, context = (np.concatenate([x, x]) for x in inputs())
    both = program(latents, time, context)
    one = program(*inputs())
    assert np.abs(both[:2] - one).max() <= 1e-4 * np.abs(one).max()


def test_pictures_in_int8(folder: Path) -> None:
    model = StableDiffusion.from_preset("mini")
    options = {"num_steps": 4, "seed": 3, "verbose": False}
    expected = model.text_to_image("a red apple", **options)
    model.quantize("int8", ["a blue heart"], 4, decoder=True)
    found = model.text_to_image("a red apple", **options)
    error = np.mean((found.astype("float64") - expected) ** 2)
    assert 0 < error < 65  # 30 dB
    assert model.parts.decode.is_int8
    reused = model.text_to_image("a red apple", feature_reuse=2, token_merging=0.5, **options)
    assert np.any(reused != found)
    kinds = [layer_types(found.run) for found in model.parts.evaluate.executables.values()]
    ways = {key.static for key in model.parts.evaluate.executables}
    assert len(ways) == 3  # as it is; merging; merging and keeping
    counts = sorted(kind["Convolution _i8"] for kind in kinds)
    assert 0 < counts[0] < 4 < counts[1]  # a shallow evaluation, and whole ones


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("int4",), "`mode` must be 'int8'"), (("int8", "a"), "a list"), (("int8", []), "a list")],
)
def test_int8_is_asked_for_rightly(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StableDiffusion.from_preset("mini").quantize(*arguments)


@pytest.mark.filterwarnings("ignore:.*custom_gradient")  # Keras' own
def test_layers_that_keras_quantised_keep_their_scale(folder: Path) -> None:
    layer = SelfAttention(32, 4)
    layer.build()
    for variable in layer.variables:
        store(variable, np.random.default_rng(1).standard_normal(variable.shape, "float32") / 6)
    x = np.random.default_rng(2).standard_normal((1, 5, 32), "float32")
    expected = runtime.compile(layer, [layer], True)(x)
    layer.to_qkv.quantize("int8")
    found = runtime.compile(layer, [layer], True)(x)
    assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
