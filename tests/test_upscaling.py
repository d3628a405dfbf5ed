"""Larger pictures: by networks in tiles, by filters, with transparency and recipes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sfumato
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.networks.network import Network, keys
from sfumato.networks.upscalers import (
    RDN,
    CompactConfig,
    CompactNet,
    RDNConfig,
    RRDBConfig,
    RRDBNet,
)
from sfumato.picture import Picture
from sfumato.presets.upscalers import BUNDLED
from sfumato.request import Request
from sfumato.upscaling import Upscaler, open_upscaler


def drawing(H: int, W: int) -> np.ndarray:
    """Circles of some colours with fine edges, uint8 (H, W, 3)."""
    y, x = np.mgrid[:H, :W]
    waves = [np.sin(np.hypot(x - a, y - b) / 3) for a, b in ((0, 0), (W, 20), (30, H))]
    return np.rint(127.5 + 127.5 * np.stack(waves, axis=-1)).astype("uint8")


def write(network: Network, path: Path) -> Path:
    """A network as a file, in PyTorch's order of axes."""
    arrays = {name: np.array(variable) for name, variable in keys(network).items()}
    turned = {n: x.transpose(*range(x.ndim)[:-3:-1], *range(x.ndim - 2)) for n, x in arrays.items()}
    write_safetensors(path, {n: np.ascontiguousarray(x) for n, x in turned.items()})
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a network that enlarges twice."""
    network = CompactNet(CompactConfig(8, 2, 2))
    network.initialize(0)
    return write(network, tmp_path_factory.mktemp("networks") / "small.safetensors")


@pytest.mark.parametrize(
    "network",
    [
        CompactNet(CompactConfig(6, 2, 2)),
        RDN(RDNConfig(6, 2, 2, 1, 4)),
        RRDBNet(RRDBConfig(4, 2, 0, unshuffle=2)),
    ],
)
@pytest.mark.parametrize("scale", [1, 2])
def test_tiles_are_the_whole(network, scale):
    """Neighbours overlap by what the network sees, so that not even their rounding differs."""
    network.initialize(3)
    (*_, bias) = keys(network).values()  # of the last layer: grey, so that nothing is cut off
    bias.assign(np.full(bias.shape, 127.5 if isinstance(network, RDN) else 0.5))
    x = drawing(131, 115)
    upscaler = Upscaler(network)
    assert upscaler.margin >= network.config.reach
    whole = upscaler(x, scale, 160).astype(int)
    tiles = upscaler(x, scale, 96).astype(int)
    assert whole.shape == (scale * 131, scale * 115, 3)
    assert whole.std() > 1
    assert np.abs(whole - tiles).max() <= 1


def test_a_picture_has_no_frame():
    """What is one colour stays so up to the edges, beyond which networks see zeros."""
    x = np.full((20, 24, 3), (250, 240, 220), np.uint8)
    larger = sfumato.upscale(x, 4).astype(int)
    assert np.ptp(larger, axis=(0, 1)).max() <= 2
    assert np.abs(larger - x[0, 0]).max() <= 6


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (40, 7)])
@pytest.mark.parametrize("scale", [1, 1.5, 2, 3])
def test_any_size_and_scale(size, scale, small):
    larger = sfumato.upscale(drawing(*size), scale, small)
    assert larger.dtype == np.uint8
    assert larger.shape == (round(scale * size[0]), round(scale * size[1]), 3)


def test_a_network_is_used_again_until_the_size_is_reached(small):
    x = drawing(20, 24)
    network = open_upscaler(small)
    twice = network(network(x, 2), 2)
    assert np.array_equal(sfumato.upscale(x, 4, small), twice)
    reduced = Image.fromarray(twice).resize((72, 60), Image.Resampling.LANCZOS)
    assert np.array_equal(sfumato.upscale(x, 3, small), np.array(reduced))


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos", "Lanczos"])
def test_filters_are_pillows(name):
    x = drawing(9, 14)
    kind = Image.Resampling[name.upper()]
    assert np.array_equal(sfumato.upscale(x, 2, name), Image.fromarray(x).resize((28, 18), kind))


def test_forms_of_a_picture(small, tmp_path):
    x = drawing(10, 12)
    Image.fromarray(x).save(tmp_path / "x.png")
    larger = sfumato.upscale(x, 2, small)
    for image in (tmp_path / "x.png", str(tmp_path / "x.png"), Image.fromarray(x)):
        assert np.array_equal(sfumato.upscale(image, 2, small), larger)
    picture = Picture(x, Request(prompt="circles", seed=3))
    found = sfumato.upscale(picture, 2, small)
    assert isinstance(found, Picture)
    assert found.request is picture.request
    assert np.array_equal(found.pixels, larger)


def test_transparency_is_kept_and_hidden_colours_do_not_come_out(tmp_path):
    x = np.zeros((16, 16, 4), "uint8")
    x[4:12, 4:12] = (200, 100, 50, 255)  # on black, which nobody sees
    Image.fromarray(x).save(tmp_path / "x.png")
    for image in (x, Image.fromarray(x), tmp_path / "x.png"):
        larger = sfumato.upscale(image, 2, "lanczos")
        assert larger.shape == (32, 32, 4)
        assert (larger[..., :3] == (200, 100, 50)).all()
        assert larger[16, 16, 3] == 255
        assert larger[0, 0, 3] == 0
    x[..., 3] = 255
    assert sfumato.upscale(x, 2, "lanczos").shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"scale": 0.5}, "`scale` must be a number from 1 to 8"),
        ({"scale": "2"}, "`scale`"),
        ({"scale": float("nan")}, "`scale`"),
        ({"scale": 9}, "`scale`"),
        ({"upscaler": "other"}, "`upscaler` must be one of esrgan, .*file"),
        ({"upscaler": 4}, "`upscaler`"),
        ({"tile": 10}, "`tile` must be a whole number from 96"),
        ({"image": np.zeros((4, 4), "complex64")}, "`image` must be"),
        ({"image": np.zeros((4, 4, 2), "uint8")}, "`image` must be"),
        ({"image": np.zeros((5000, 5000), "uint8")}, "`scale` must leave at most"),
    ],
)
def test_arguments_that_cannot_be(arguments, says):
    with pytest.raises(ValueError, match=says):
        sfumato.upscale(**{"image": drawing(4, 4), **arguments})


def test_a_file_that_changes_is_read_again(small, tmp_path):
    x, path = drawing(8, 8), tmp_path / "x.safetensors"
    path.write_bytes(small.read_bytes())
    first = sfumato.upscale(x, 2, path)
    network = CompactNet(CompactConfig(8, 2, 4))
    network.initialize(1)
    write(network, path)
    assert not np.array_equal(sfumato.upscale(x, 2, path), first)


def test_the_bundled_network(tmp_path):
    """It is the one of the recipe, small, with its licence, and does enlarge a drawing."""
    file = BUNDLED["esrgan"]
    assert file.stat().st_size < 2_000_000
    assert "Kevin Scott" in (file.parent / "LICENSE.txt").read_text()
    assert hashlib.sha256(file.read_bytes()).hexdigest().startswith(DIGEST)
    disc = np.hypot(*np.mgrid[-63.5:64, -63.5:64]) < 50
    large = np.where(disc[..., None], (220, 60, 40), (250, 240, 220)).astype("uint8")
    small = np.array(Image.fromarray(large).resize((64, 64), Image.Resampling.BICUBIC))
    errors = [
        np.square(sfumato.upscale(small, 2, name).astype(float) - large).mean()
        for name in ("esrgan", "lanczos")
    ]
    assert errors[0] < errors[1]


DIGEST = "a8d15da94bcc8a62"
