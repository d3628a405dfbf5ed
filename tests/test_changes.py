"""A picture is made with the parts as they are then, whatever was compiled before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import tiny_model
from sfumato.autoencoding import decode
from sfumato.diffusion import latent_noise
from sfumato.networks.unet import UNet
from sfumato.runtime.contents import contents, same
from sfumato.stable_diffusion import StableDiffusion
from tiny_model import paint

pytestmark = pytest.mark.backend("jax", "tensorflow", "torch", "openvino")

PARTS = ("text_encoder", "diffusion_model", "decoder", "image_encoder")
PROGRAMS = ("encode_text", "prepare", "evaluate", "decode", "encode_picture")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.save(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module", autouse=True)
def graphs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if keras.backend.backend() == "torch":  # traced at once, as in a process of many pictures
            patch.setattr("sfumato.runtime.torch.EAGER", 0)
        yield


@pytest.fixture(scope="module")
def shared(folder: Path) -> StableDiffusion:
    loaded = tiny_model.load(folder)
    show(loaded)
    return loaded


@pytest.fixture
def model(shared: StableDiffusion) -> Iterator[StableDiffusion]:
    with tiny_model.lent(shared):
        yield shared


def show(model: StableDiffusion) -> np.ndarray:
    """A picture to which every part contributes."""
    image = np.full((32, 32, 3), 90, "uint8")
    options: dict[str, Any] = {"num_steps": 2, "seed": 5, "verbose": False}
    return model.image_to_image("a red apple", image, 0.9, **options)[0]


def with_lora(model: StableDiffusion) -> None:
    for layer in dense(model):
        layer.enable_lora(2)
        shape = layer.lora_kernel_b.shape
        layer.lora_kernel_b.assign(np.random.default_rng(0).standard_normal(shape))


def dense(model: StableDiffusion) -> list[Any]:
    layers = model.diffusion_model._flatten_layers()
    return [layer for layer in layers if layer.name in ("to_q", "to_k", "to_v")]


def with_another_layer(model: StableDiffusion) -> None:
    other = tiny_model.load(model.model).text_encoder.encoder.layers[1]
    model.text_encoder.encoder.layers[0] = other


def without_a_layer(model: StableDiffusion) -> None:
    model.text_encoder.encoder.layers.pop()


def with_another_call(model: StableDiffusion) -> None:
    layer = model.decoder.post_quant_conv
    call = layer.call
    layer.call = lambda x: -call(x)


def test_what_is_changed_is_used(model: StableDiffusion, folder: Path) -> None:
    """One change after the other, of parts and then of their layers."""
    other, before = tiny_model.load(folder), show(model)
    for part in PARTS:
        network = getattr(other, part)
        for variable in network.variables:
            variable.assign(variable * 0.5)
        setattr(model, part, network)
        picture = show(model)
        assert not np.array_equal(picture, before), part
        before = picture
    with_lora(model)
    assert not np.array_equal(show(model), before)
    for layer in dense(model):
        layer.lora_enabled = False
    np.testing.assert_array_equal(show(model), before)
    for change in (with_another_layer, without_a_layer, with_another_call):
        change(model)
        picture = show(model)
        assert not np.array_equal(picture, before), change
        before = picture


@pytest.mark.backend("jax", "openvino")  # it takes half a minute elsewhere
@pytest.mark.filterwarnings("ignore:Layer .* does not have a .quantize. method:UserWarning")
@pytest.mark.filterwarnings("ignore:.*custom_gradient")  # Keras' own
def test_what_keras_quantised_is_used(model: StableDiffusion) -> None:
    model.diffusion_model = tiny_model.unet(0, tiny_model.SMALLEST)
    before = paint(model)
    program = model.parts.evaluate
    model.diffusion_model.quantize("int8")
    assert np.abs(paint(model).astype(int) - before).mean() < 10
    assert model.parts.evaluate is not program


def test_what_has_not_changed_is_not_made_again(model: StableDiffusion) -> None:
    model.diffusion_model = tiny_model.unet(0, tiny_model.SMALLEST)
    show(model)
    made = [getattr(model.parts, name) for name in PROGRAMS]
    kernel = model.diffusion_model.conv_in.kernel
    kernel.assign(0.5 * ops.convert_to_tensor(kernel))
    if keras.backend.backend() != "openvino":
        model.diffusion_model.compile(keras.optimizers.SGD(0.01), "mse")
        model.diffusion_model.fit(*tiny_model.training(), verbose=0)
    show(model)
    assert all(getattr(model.parts, n) is p for n, p in zip(PROGRAMS, made, strict=True))


def test_a_replaced_part_leaves_other_programs_alone(model: StableDiffusion) -> None:
    before = model.parts.encode_text, model.parts.evaluate, model.parts.decode
    model.diffusion_model = tiny_model.unet(1)
    after = model.parts.encode_text, model.parts.evaluate, model.parts.decode
    assert [a is b for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_compilation_may_be_switched_off_or_on_later(model: StableDiffusion) -> None:
    """The decoder says so for all: XLA takes long on TensorFlow."""
    latents = latent_noise(5, 4, 4)
    before, made = decode(model.parts, latents), [getattr(model.parts, name) for name in PROGRAMS]
    model.jit_compile = not model.jit_compile
    assert np.abs(decode(model.parts, latents).astype(int) - before).max() <= 2
    assert not any(getattr(model.parts, n) is p for n, p in zip(PROGRAMS, made, strict=True))


def test_every_variable_is_looked_at_and_no_value() -> None:
    network = tiny_model.unet()
    found = contents([network])
    assert same(found, contents([network]))
    assert {id(v) for v in network.variables} == {id(x) for x in found.variables}
    kernel = network.conv_in.kernel
    kernel.assign(0 * ops.convert_to_tensor(kernel))
    assert same(found, contents([network]))


def test_a_picture_of_more_steps_looks_no_more_often(
    model: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Any] = []

    def counted(networks: Any) -> Any:
        looks.append(networks)
        return contents(networks)

    paint(model)
    monkeypatch.setattr("sfumato.parts.contents", counted)
    paint(model, num_steps=2)
    few = len(looks)
    paint(model, num_steps=7)
    assert len(looks) == 2 * few
    assert 0 < few < 7


@pytest.mark.parametrize("value", [None, "vae.h5", 3])
@pytest.mark.parametrize("part", PARTS)
def test_what_is_no_part_is_refused_when_it_is_assigned(
    model: StableDiffusion, part: str, value: Any
) -> None:
    before = getattr(model, part)
    with pytest.raises(ValueError, match=f"`{part}` must be a .*Received: {value!r}"):
        setattr(model, part, value)
    assert getattr(model, part) is before


def test_models_of_ones_own_make(model: StableDiffusion) -> None:
    latents = keras.Input((None, None, 4))
    x = keras.layers.UpSampling2D(8)(keras.layers.Conv2D(3, 1)(latents))
    plain = keras.Model(latents, x)
    before = paint(model)
    model.decoder = plain
    assert not np.array_equal(paint(model), before)
    for part in ("diffusion_model", "text_encoder"):
        with pytest.raises(ValueError, match=f"`{part}` must be a (UNet|TextEncoder)"):
            setattr(model, part, plain)


def test_a_network_without_values_is_refused_before_it_paints(model: StableDiffusion) -> None:
    model.diffusion_model = UNet(tiny_model.SMALLEST)
    with pytest.raises(ValueError, match="Every variable of `unet` must have a value"):
        paint(model)
    model.diffusion_model.set_weights(tiny_model.unet(1, tiny_model.SMALLEST).get_weights())
    assert paint(model).std() > 0


@pytest.mark.backend("openvino")
def test_int8_ends_with_the_network_that_was_quantised(model: StableDiffusion) -> None:
    model.quantize("int8", ["a"], 1)
    assert model.generate("a", steps=1)[0].request.quantize == "int8"
    model.diffusion_model = tiny_model.unet(1)
    with pytest.warns(UserWarning, match="changed since `quantize`"):
        picture = model.generate("a", steps=1)[0]
    assert picture.request.quantize is None
    assert model.quantized is None
