"""Pictures whose edges fit together: the network knows no edge, so what is shifted stays the same.

A picture repeats if noise that is shifted around gives the picture that is shifted around. Then no
column differs from any other, and there is no seam.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import tiny_model
from sfumato import autoencoding, generation
from sfumato.autoencoding import decode, encode_picture
from sfumato.diffusion import latent_noise
from sfumato.picture import Picture
from sfumato.stable_diffusion import StableDiffusion

pytestmark = pytest.mark.backend("jax", "tensorflow", "torch", "openvino")

AXES = {"x": (1,), "y": (0,), "both": (0, 1)}
IS_JAX = keras.backend.backend() == "jax"  # others repeat maps by the same code: one of each kind
NOISE = latent_noise(5, 4, 4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    return tiny_model.load(tiny_model.save(tmp_path_factory.mktemp("tiny")))


def paint(model: StableDiffusion, noise: np.ndarray, **fields: Any) -> np.ndarray:
    request = model.completed("a wall", **{"steps": 2, "seed": 5, "guidance": 1, **fields})
    made = generation.stream(model.parts, [request], noise=noise[None])
    (pixels,) = (event.pixels for event in made if isinstance(event, Picture))
    return pixels.astype("int16")


def shifted(array: np.ndarray, by: int, axis: int) -> np.ndarray:
    """Half of a tiny picture around an axis: 2 latents, which the lowest level sees as one."""
    return np.roll(array, by, axis)


@pytest.mark.parametrize("seamless", AXES if IS_JAX else ["x"])
def test_shifted_noise_gives_the_shifted_picture(model: StableDiffusion, seamless: str) -> None:
    picture = paint(model, NOISE, seamless=seamless)
    for axis in (0, 1):
        again = paint(model, shifted(NOISE, 2, axis), seamless=seamless)
        difference = np.abs(again - shifted(picture, 16, axis)).max()
        assert (difference <= 1) == (axis in AXES[seamless]), axis


def test_other_pictures_have_edges(model: StableDiffusion) -> None:
    """Also after a seamless one: nothing of it stays in the networks."""
    picture = paint(model, NOISE)
    assert np.abs(paint(model, shifted(NOISE, 2, 1)) - shifted(picture, 16, 1)).max() > 1
    assert np.abs(paint(model, NOISE, seamless="both") - picture).max() > 1
    assert np.array_equal(paint(model, NOISE), picture)


def test_a_given_picture_is_seen_around_its_edges(model: StableDiffusion) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    latents = encode_picture(model.parts, pixels, "both")
    again = encode_picture(model.parts, np.roll(pixels, (16, 8), (0, 1)), "both")
    assert np.allclose(again, np.roll(latents, (2, 1), (0, 1)), atol=1e-4)
    assert not np.allclose(encode_picture(model.parts, pixels), latents, atol=1e-2)


@pytest.mark.parametrize("seamless", AXES if IS_JAX else ["both"])
def test_large_pictures_repeat_in_tiles(
    model: StableDiffusion, seamless: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiles begin where the picture has no edge: its edges are inside of tiles."""
    monkeypatch.setattr(autoencoding, "TILED_ABOVE", 0)
    monkeypatch.setattr(autoencoding, "TILE", 48 * 8)
    latents = latent_noise(3, 16, 12)
    pixels = decode(model.parts, latents, seamless)
    assert pixels.shape == (128, 96, 3)
    plain = decode(model.parts, np.pad(latents, [(16, 16), (16, 16), (0, 0)], "wrap"))
    inside = plain[128:-128, 128:-128].astype("int16")
    difference = np.abs(pixels - inside)
    for axis, size in ((0, 128), (1, 96)):
        edges = np.take(difference, [0, 1, size - 2, size - 1], axis)
        # Statistics of the norms are those of a tile and change all of it a little.
        assert (edges.mean() < 1.5 * np.abs(difference).mean() + 1) or axis not in AXES[seamless]
