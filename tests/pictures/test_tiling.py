"""Tiles: their results together are the result of the whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.pictures.tiling import fitted, offsets, ramp_weights, tiled, tiled_rows


def enlarge(x: np.ndarray) -> np.ndarray:
    return x.repeat(8, 1).repeat(8, 2)


def shrink(x: np.ndarray) -> np.ndarray:
    B, H, W, C = x.shape
    return x.reshape(B, H // 8, 8, W // 8, 8, C).mean(axis=(2, 4))


@given(h=st.integers(1, 70), w=st.integers(1, 70), tile=st.integers(2, 32), data=st.data())
def test_tiles_of_a_decoder_that_looks_at_nothing_else_are_the_whole(
    h: int, w: int, tile: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(1, tile - 1))
    x = np.random.default_rng(0).random((1, h, w, 2), "float32")
    assert np.allclose(tiled(enlarge, x, tile, overlap, 8), enlarge(x), atol=1e-5)


@given(h=st.integers(1, 40), w=st.integers(1, 40))
def test_tiles_of_an_encoder(h: int, w: int) -> None:
    x = np.random.default_rng(0).random((1, 8 * h, 8 * w, 3), "float32")
    assert np.allclose(tiled(shrink, x, 128, 24, 1 / 8), shrink(x), atol=1e-5)


def test_tiles_are_blended() -> None:
    """Where neighbours disagree, the result goes over from one to the other without a seam."""
    seen = []

    def tones(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        return np.full_like(x, len(seen))

    y = tiled(tones, np.zeros((1, 16, 52, 1), "float32"), 32, 12, 1)[0, 0, :, 0]
    assert len(seen) == 2
    assert all(x.shape == (1, 16, 32, 1) for x in seen)
    assert (y[0], y[-1]) == (1, 2)
    assert np.all(np.diff(y) >= 0)
    assert np.diff(y).max() < 0.1


@given(size=st.integers(1, 3000), tile=st.integers(2, 100), data=st.data())
def test_tiles_cover_everything_and_overlap(size: int, tile: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(1, tile - 1))
    found = offsets(size, tile, overlap)
    assert found[0] == 0
    assert found[-1] == max(0, size - tile)
    for before, after in pairwise(found):
        assert before < after <= before + tile - overlap


def test_tiles_of_pixels_begin_at_latents() -> None:
    assert all(offset % 8 == 0 for offset in offsets(1592, 768, 128, grain=8))


def test_ramps_rise_and_fall() -> None:
    assert ramp_weights(6, 2).tolist() == [0.25, 0.75, 1, 1, 0.75, 0.25]
    assert ramp_weights(3, 0).tolist() == pytest.approx([0.5, 1, 0.5])


@given(h=st.integers(1, 90), w=st.integers(1, 90), margin=st.integers(0, 4))
def test_margins_of_tiles_are_left_to_their_neighbours(h: int, w: int, margin: int) -> None:
    """Whatever stands where a tile cannot see its surroundings, nothing of it remains."""
    h, w = h + 2 * margin, w + 2 * margin
    x = np.random.default_rng(0).random((1, h, w, 2), "float32")

    def function(part: np.ndarray) -> np.ndarray:
        y = np.full_like(part, 2.0)
        inner = (
            ...,
            slice(margin, part.shape[1] - margin),
            slice(margin, part.shape[2] - margin),
            slice(None),
        )
        y[inner] = part[inner]
        return enlarge(y)

    rows = [*tiled_rows(function, x, 24, 2 * margin + 3, 8, margin)]
    inner = (slice(None), slice(8 * margin, 8 * (h - margin)), slice(8 * margin, 8 * (w - margin)))
    assert np.allclose(np.concatenate(rows, axis=1)[inner], enlarge(x)[inner], atol=1e-3)


def test_no_more_rows_are_held_than_a_row_of_tiles_has() -> None:
    x = np.zeros((1, 400, 16, 1), "float32")
    rows = [*tiled_rows(enlarge, x, 32, 8, 8)]
    assert sum(part.shape[1] for part in rows) == 3200
    assert max(part.shape[1] for part in rows) <= 32 * 8
    assert all(part.base is None or part.base.shape[1] <= 2 * 32 * 8 for part in rows)


@given(size=st.integers(1, 500), tile=st.sampled_from([64, 96, 128]), overlap=st.integers(1, 40))
def test_fitted_tiles_are_as_many_and_no_larger(size: int, tile: int, overlap: int) -> None:
    side = fitted(size, tile, overlap, 8)
    assert side <= max(tile, overlap + 8)
    assert len(offsets(size, side, overlap)) <= len(offsets(size, tile, overlap))
