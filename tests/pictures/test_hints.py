"""The pictures that ControlNets are shown."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from skimage import color, feature

from sfumato.pictures.edges import canny
from sfumato.pictures.hints import PREPROCESSORS, as_hint

NOISE = np.random.default_rng(0).integers(0, 256, (61, 47, 3)).astype(np.uint8)
SQUARE = np.zeros((40, 40, 3), np.uint8)
SQUARE[10:30, 12:28] = (200, 30, 90)


@pytest.mark.parametrize(
    ("low", "high", "edges", "digest"),
    [(100, 200, 1034, "7327ee71966f2c57"), (400, 900, 818, "a7d5a9c1bab600ee")],
)
def test_edges_are_those_of_opencv(low: int, high: int, edges: int, digest: str) -> None:
    """The maps of OpenCV 5.0's `Canny`, by their digests."""
    found = canny(NOISE, low, high)
    assert (found > 0).sum() == edges
    assert hashlib.sha256(found.tobytes()).hexdigest()[:16] == digest


def test_edges_are_where_another_program_sees_them() -> None:
    theirs = feature.canny(SQUARE[..., 0] / 255, sigma=0, low_threshold=0.1, high_threshold=0.2)
    ours = canny(SQUARE) > 0
    assert ours.any()
    near = np.zeros_like(theirs)
    for y in (-1, 0, 1):
        for x in (-1, 0, 1):
            near |= np.roll(theirs, (y, x), (0, 1))
    assert not (ours & ~near).any()


def test_weak_edges_count_where_they_touch_strong_ones() -> None:
    slope = np.zeros((9, 24, 3), np.uint8)
    slope[4:, :] = np.linspace(10, 200, 24).astype(np.uint8)[:, None]  # weak on the left
    weak, joined = canny(slope, 700, 700), canny(slope, 60, 700)
    assert 0 < (weak > 0).sum() < (joined > 0).sum()
    alone = canny(np.minimum(slope, 60), 60, 700)
    assert not alone.any()


def test_lightness_is_that_of_cielab() -> None:
    expected = np.rint(color.rgb2lab(NOISE)[..., 0] * 2.55)
    got = PREPROCESSORS["recolour"](NOISE)
    assert np.abs(got[..., 0] - expected).max() <= 1  # rounded constants of the matrix
    assert (got == got[..., :1]).all()


@pytest.mark.parametrize("name", PREPROCESSORS)
def test_hints_are_of_0_to_1(name: str) -> None:
    hint = as_hint(NOISE, name)
    assert (hint.shape, hint.dtype) == (NOISE.shape, np.float32)
    assert 0 <= hint.min() < hint.max() <= 1


def test_plain_ones() -> None:
    assert np.array_equal(as_hint(NOISE, "none") * np.float32(255), NOISE)
    assert np.array_equal(as_hint(NOISE, "invert"), as_hint(255 - NOISE, "none"))
    assert set(np.unique(as_hint(NOISE, "threshold"))) == {0, 1}
    assert as_hint(NOISE, "blur").std() < as_hint(NOISE, "none").std() / 4
    assert np.ptp(as_hint(NOISE, "grey"), axis=-1).max() == 0


def test_what_is_masked_is_hidden() -> None:
    mask = np.zeros((61, 47), np.uint8)
    mask[:20] = 255
    hint = as_hint(NOISE, "inpaint", mask)
    assert (hint[:20] == -1).all()
    assert np.array_equal(hint[20:], as_hint(NOISE, "none")[20:])
