"""The safety classifier says what the original says, and flags and blurs by that.

`recipes.nsfwjs.judge` made `safety_reference.json`: the original's numbers, by TensorFlow.js.
"""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from recipes.nsfwjs.judge import photograph
from sfumato import Picture, Request, classify
from sfumato.safety import blurred, flagged, read_network, resized

EXPECTED = json.loads(Path(__file__).with_name("safety_reference.json").read_text())
HARMLESS = "astronaut.png"
WRONGED = "microaneurysms.png"
"""A photograph of an eye's ground, which the original takes for what it is not."""


@pytest.mark.parametrize("name", [HARMLESS, WRONGED, "camera.png", "cell.png", "rocket.jpg"])
def test_it_says_what_the_original_says(name: str):
    found = classify(photograph(name))
    assert found == pytest.approx(EXPECTED[name], abs=1e-4)  # seen: 1e-6
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize("size", [(224, 224), (8, 16), (97, 1031), (1, 5)])
def test_pictures_are_resized_from_corner_to_corner(size: tuple[int, int]):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    given = torch.from_numpy(x / 255).permute(2, 0, 1)[None]
    corners = {"mode": "bilinear", "align_corners": True}
    expected = torch.nn.functional.interpolate(given, (224, 224), **corners)[0].permute(1, 2, 0)
    found = resized(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


def test_pictures_come_in_every_form(tmp_path: Path):
    pixels = photograph(WRONGED)
    expected = classify(pixels)
    Image.fromarray(pixels).save(tmp_path / "eye.png")
    opaque = np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], -1)
    picture = Picture(pixels, Request(prompt="an eye"))
    for form in (tmp_path / "eye.png", Image.fromarray(pixels), opaque, picture):
        assert classify(form) == expected
    assert classify(photograph("camera.png")[..., 0]) == classify(photograph("camera.png"))
    with pytest.raises(ValueError, match="`image` must be a picture"):
        classify(np.zeros((3, 3, 5)))


def test_an_unsafe_picture_is_flagged():
    picture = Picture(photograph(WRONGED), Request(prompt="an eye", safety="flag"), ("a word",))
    found = flagged(picture)
    words = "looks like porn (0.86) to a classifier (docs/safety.md: it errs)"
    assert found.flags == ("a word", words)
    assert found.pixels is picture.pixels
    assert found.request is picture.request


def test_an_unsafe_picture_is_blurred():
    picture = Picture(photograph(WRONGED), Request(prompt="an eye", safety="blur"))
    found = flagged(picture)
    assert "it was blurred" in found.flags[0]
    assert np.array_equal(found.pixels, blurred(picture.pixels))
    assert found.pixels.shape == picture.pixels.shape


@pytest.mark.parametrize("safety", ["flag", "blur"])
def test_a_harmless_picture_stays_as_it_is(safety: str):
    picture = Picture(photograph(HARMLESS), Request(prompt="a woman", safety=safety))
    assert flagged(picture) is picture


@pytest.mark.parametrize("size", [(64, 64), (96, 256)])
def test_a_blur_leaves_no_detail_at_any_size(size: tuple[int, int]):
    H, W = size
    stripes = np.arange(W) * 16 // W % 2 * 255  # of a sixteenth of the picture
    pixels = np.broadcast_to(stripes[None, :, None], (H, W, 3)).astype("uint8")
    middle = blurred(pixels)[:, W // 4 : 3 * W // 4].astype("int16")
    assert np.abs(middle - 127).max() < 8


def test_it_leaves_keras_nothing_to_initialise():
    read_network()
    with keras.StatelessScope():  # at its end Keras initialises what waits
        pass
