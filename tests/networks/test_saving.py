"""The Keras contract of the networks: saved, loaded, cloned, copied; at first without values."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import tiny_model
from sfumato import runtime
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.configs import AutoencoderConfig, TextEncoderConfig
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet

pytestmark = pytest.mark.backend("jax", "tensorflow", "torch", "openvino")

TEXT = TextEncoderConfig(16, 1, 2, 32, "gelu", vocabulary=50, projection=8, penultimate=True)
VAE = AutoencoderConfig(channels=(8, 8), layers=1, groups=4)
LATENTS = np.random.default_rng(0).standard_normal((1, 4, 4, 4)).astype("float32")


def decoder(seed: int | None = 0, dtype: Any = None) -> ImageDecoder:
    network = ImageDecoder(VAE, dtype, "decoder")
    if seed is not None:
        network.initialize(seed)
    return network


def answer(network: Any) -> np.ndarray:
    if keras.backend.backend() == "openvino":  # which has no operations by themselves
        return runtime.compile(network, [network], jit_compile=False)(LATENTS)
    return ops.convert_to_numpy(network(LATENTS))


def by_keras_file(network: Any, folder: Path) -> Any:
    network.save(folder / "network.keras")
    return keras.models.load_model(folder / "network.keras")


def by_weights_file(network: Any, folder: Path) -> Any:
    network.save_weights(folder / "network.weights.h5")
    other = decoder(None)
    other.load_weights(folder / "network.weights.h5")
    return other


def by_weights(network: Any, folder: Path) -> Any:
    other = decoder(None)
    other.set_weights(network.get_weights())
    return other


def by_assignment(network: Any, folder: Path) -> Any:
    other = decoder(None)
    for one, another in zip(other.variables, network.variables, strict=True):
        one.assign(another)
    return other


def by_clone(network: Any, folder: Path) -> Any:
    other = keras.models.clone_model(network)
    other.set_weights(network.get_weights())
    return other


def by_deepcopy(network: Any, folder: Path) -> Any:
    return copy.deepcopy(network)


def by_pickle(network: Any, folder: Path) -> Any:
    return pickle.loads(pickle.dumps(network))


WAYS = (by_keras_file, by_weights_file, by_weights, by_assignment, by_clone, by_deepcopy, by_pickle)


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_gives_the_same_answer(way: Callable[[Any, Path], Any], tmp_path: Path) -> None:
    network = decoder()
    other = way(network, tmp_path)
    assert other is not network
    assert isinstance(other, ImageDecoder)
    assert other.config == network.config
    np.testing.assert_array_equal(answer(other), answer(network))
    for one, another in zip(other.variables, network.variables, strict=True):
        assert one is not another
        one.assign(0 * ops.convert_to_tensor(one))
    assert np.abs(answer(network)).max() > 0.01
    assert np.abs(answer(other)).max() < 1e-6


def test_a_value_that_was_assigned_is_a_copy() -> None:
    value = np.ones((4, 4), "float32")
    network = decoder(None)
    network.post_quant_conv.kernel.assign(value)
    value[:] = 7
    assert np.all(ops.convert_to_numpy(network.post_quant_conv.kernel) == 1)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (UNet, tiny_model.UNET),
        (TextEncoder, TEXT),
        (ImageEncoder, tiny_model.VAE),
        (ImageDecoder, tiny_model.VAE),
    ],
)
def test_a_configuration_is_plain_and_comes_back(kind: Any, config: Any) -> None:
    network = kind(config, "mixed_bfloat16", "mine")
    plain = json.loads(json.dumps(network.get_config()))
    again = kind.from_config(plain)
    assert (again.config, again.name) == (config, "mine")
    assert again.dtype_policy == network.dtype_policy
    assert [v.shape for v in again.variables] == [v.shape for v in network.variables]


def test_a_network_without_values_says_so() -> None:
    network = decoder(None)
    for use in (
        lambda: network(LATENTS),
        lambda: answer(network),
        network.get_weights,
        lambda: network.save_weights("nowhere.weights.h5"),
    ):
        with pytest.raises(ValueError, match="must have a value before it is used"):
            use()
    symbolic = network(keras.Input(batch_shape=(1, 4, 4, 4)))
    assert symbolic.shape == (1, 8, 8, 3)


@pytest.mark.backend("jax", "tensorflow", "torch")
@pytest.mark.parametrize("how", ["fit", "train_on_batch"])
def test_training_begins_where_there_are_no_values(how: str) -> None:
    x, y = tiny_model.training()
    trained, begun = UNet(tiny_model.SMALLEST), tiny_model.unet(0, tiny_model.SMALLEST)
    trained.compile(keras.optimizers.SGD(0.1), "mse")
    trained.fit(x, y, verbose=0) if how == "fit" else trained.train_on_batch(x, y)
    pairs = [*zip(trained.get_weights(), begun.get_weights(), strict=True)]
    moved = [np.abs(a - b).max() for a, b in pairs]
    assert 0 < max(moved) < 1  # from `initialize(0)`, and not far from there
    assert np.mean([m > 0 for m in moved]) > 0.8


@pytest.mark.backend("jax", "tensorflow", "torch")
def test_a_checkpoint_of_a_training_is_loaded_and_trained_further(tmp_path: Path) -> None:
    x, y = tiny_model.training()
    network = tiny_model.unet(0, tiny_model.SMALLEST)
    network.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    keep = keras.callbacks.ModelCheckpoint(tmp_path / "unet.keras")
    network.fit(x, y, epochs=2, verbose=0, callbacks=[keep])
    again = keras.models.load_model(tmp_path / "unet.keras")
    for one, other in zip(network.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.optimizer.iterations == network.optimizer.iterations
    for one, other in zip(network.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (one, other)))
    again.fit(x, y, verbose=0)


@pytest.mark.backend("tensorflow")
def test_export_with_a_signature(tmp_path: Path) -> None:
    import tensorflow as tf

    decoder: Any = tiny_model.drawn(ImageDecoder(VAE))
    signature = [keras.InputSpec(shape=(None, 4, 4, 4), dtype="float32")]
    decoder.export(tmp_path / "decoder", verbose=False, input_signature=signature)
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 4)).astype("float32")
    loaded = tf.saved_model.load(str(tmp_path / "decoder"))  # its variables live as long as it does
    assert np.abs(np.array(loaded.serve(x)) - np.array(decoder(x))).max() < 1e-5
