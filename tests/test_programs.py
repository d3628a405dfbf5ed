"""Tiling, and the table that tells the step what to do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato import programs
from sfumato.diffusion.plan import make_plan
from sfumato.diffusion.schedules import training_sigmas


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
    assert np.allclose(programs.tiled(enlarge, x, tile, overlap, 8), enlarge(x), atol=1e-5)


@given(h=st.integers(1, 40), w=st.integers(1, 40))
def test_tiles_of_an_encoder(h: int, w: int) -> None:
    x = np.random.default_rng(0).random((1, 8 * h, 8 * w, 3), "float32")
    assert np.allclose(programs.tiled(shrink, x, 128, 24, 1 / 8), shrink(x), atol=1e-5)


def test_tiles_are_blended() -> None:
    """Where neighbours disagree, the result goes over from one to the other without a seam."""
    seen = []

    def tones(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        return np.full_like(x, len(seen))

    y = programs.tiled(tones, np.zeros((1, 16, 52, 1), "float32"), 32, 12, 1)[0, 0, :, 0]
    assert len(seen) == 2
    assert all(x.shape == (1, 16, 32, 1) for x in seen)
    assert (y[0], y[-1]) == (1, 2)
    assert np.all(np.diff(y) >= 0)
    assert np.diff(y).max() < 0.1


@pytest.mark.parametrize("steps", [1, 25, 700, 1000])
def test_the_table_has_one_shape_for_ordinary_runs(steps: int) -> None:
    plan = make_plan(training_sigmas(), steps, "heun", "uniform")
    table = programs.tabulate(plan, "epsilon")
    rows = 1024 if steps < 513 else 2048
    assert table.shape == (rows, 4 + 6 * 8)
    assert table.dtype == np.float32
    assert np.isfinite(table).all()
