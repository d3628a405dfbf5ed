"""Pictures in whatever mode the caller is: torch's, JAX's, within `fit`, and without a console."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tiny_model
from sfumato.networks.unet import UNet
from sfumato.stable_diffusion import StableDiffusion
from tiny_model import paint

pytestmark = pytest.mark.backend("jax", "tensorflow", "torch", "openvino")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.save(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def model(folder: Path) -> StableDiffusion:
    model = tiny_model.load(folder)
    model.diffusion_model = smallest()
    return model


def smallest() -> UNet:
    return tiny_model.unet(0, tiny_model.SMALLEST)


def train(model: StableDiffusion, *callbacks: keras.callbacks.Callback) -> None:
    model.diffusion_model.compile(keras.optimizers.SGD(0.5), "mse")
    x, y = tiny_model.training()
    model.diffusion_model.fit(x, y, batch_size=2, verbose=0, callbacks=[*callbacks])


def test_a_program_without_a_console(
    model: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = paint(model)
    monkeypatch.setattr(sys, "stdout", None)
    np.testing.assert_array_equal(paint(model, verbose=True), expected)


@pytest.mark.backend("torch")
@pytest.mark.parametrize(
    ("mode", "eager"), [("inference_mode", 0), ("inference_mode", 50), ("no_grad", 0)]
)
def test_a_first_picture_in_a_mode_of_torch(
    model: StableDiffusion, mode: str, eager: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr("sfumato.runtime.torch.EAGER", eager)
    scope: AbstractContextManager[Any] = getattr(torch, mode)()
    with scope:
        before = paint(model)
    np.testing.assert_array_equal(paint(model), before)
    assert not any(v.value.is_inference() for v in model.text_encoder.variables)
    train(model)
    assert not np.array_equal(paint(model), before)


@pytest.mark.backend("torch")
def test_values_of_a_mode_of_torch() -> None:
    import torch

    with torch.inference_mode():
        network = UNet(tiny_model.SMALLEST)
        network.set_weights(smallest().get_weights())
        network.conv_out.bias.assign(torch.ones(4))
    network.compile(keras.optimizers.SGD(0.1), "mse")
    network.fit(*tiny_model.training(), verbose=0)


@pytest.mark.backend("jax")
def test_without_compilation_by_jax(model: StableDiffusion) -> None:
    import jax

    expected = paint(model)
    model.parts._programs.clear()
    with jax.disable_jit():
        found = paint(model)
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.backend("jax", "tensorflow", "torch")
def test_pictures_while_a_network_is_trained(model: StableDiffusion) -> None:
    seen: list[np.ndarray] = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(paint(model))

    before = paint(model)
    train(model, Look())
    assert len(seen) == 2
    assert not np.array_equal(seen[0], before)
    np.testing.assert_array_equal(seen[1], paint(model))


@pytest.mark.backend("jax")
def test_a_network_in_the_midst_of_anothers_training_says_so(model: StableDiffusion) -> None:
    class Outer(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.unet = model.diffusion_model

        def call(self, x: Any) -> Any:
            return self.unet(x)

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            with pytest.raises(ValueError, match="In a callback of `fit`, read `self.model`"):
                paint(model)
            assert self.model is not None
            paint(model)

    outer = Outer()
    outer.compile(keras.optimizers.SGD(0.1), "mse")
    outer.fit(*tiny_model.training(), verbose=0, callbacks=[Look()])


@pytest.mark.backend("jax", "torch")
def test_training_that_computes_again_what_it_does_not_keep() -> None:
    plain = smallest()
    with keras.RematScope(mode="full"):
        sparing = smallest()
    x, y = tiny_model.training()
    for network in (plain, sparing):
        network.compile(keras.optimizers.SGD(0.1), "mse")
        network.fit(x, y, verbose=0)
    for one, other in zip(plain.get_weights(), sparing.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
