"""Philox and the normal noise made of it, against published vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.diffusion import latent_noise, normal, philox
from sfumato.diffusion.noise import placed, slerp

# Counter, key and result of philox4x32 with 10 rounds, from the file `tests/kat_vectors` of
# Random123 1.14.0 (github.com/DEShawResearch/random123), the library of Salmon et al. 2011.
KAT_VECTORS = (
    "00000000 00000000 00000000 00000000 00000000 00000000 6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    "ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 408f276d 41c83b0e a20bc7c6 6d5451fd",
    "243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0 d16cfe09 94fdcceb 5001e420 24126ea1",
)

# What `torch.manual_seed(0); torch.randn(8, 8, device="cuda")` prints (four decimals; the first
# three rows), and the first of them to eight decimals as documented in A1111's NV generator,
# modules/rng_philox.py.
CUDA_SEED_0 = (
    (-0.9247, -0.4253, -2.6438, 0.1452, -0.1209, -0.5797, -0.6229, -0.3284),
    (-1.0745, -0.3631, -1.6711, 2.2655, 0.3117, -0.1842, 1.2866, 1.1820),
    (-0.1271, 1.2169, 1.4353, 1.0605, -0.4941, -1.4244, -0.7244, -1.2973),
)
NV_SEED_0 = (
    (-0.92466259, -0.42534415, -2.6438457, 0.14518388),
    (-0.12086647, -0.57972564, -0.62285122, -0.32838709),
    (-1.07454231, -0.36314407, -1.67105067, 2.26550497),
)


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("vector", KAT_VECTORS)
def test_philox_gives_the_known_answers(vector: str) -> None:
    numbers = words(vector)
    counter, (low, high), result = numbers[:4], numbers[4:6], numbers[6:]
    drawn = philox(np.array(counter, np.uint32)[:, None], low | high << 32)
    assert drawn.dtype == np.uint32
    assert drawn[:, 0].tolist() == result


def test_philox_treats_columns_alone() -> None:
    counters = np.array([words(vector)[:4] for vector in KAT_VECTORS], np.uint32).T
    together = philox(counters, 42)
    alone = [philox(counters[:, [i]], 42) for i in range(3)]
    np.testing.assert_array_equal(together, np.hstack(alone))


def test_normal_is_cudas_randn() -> None:
    np.testing.assert_allclose(normal(0, (8, 8))[:3], CUDA_SEED_0, rtol=0, atol=5.1e-5)


def test_normal_is_the_nv_generator() -> None:
    # Eight printed decimals of float32 numbers that CUDA's own sine made.
    np.testing.assert_allclose(normal(0, (3, 4)), NV_SEED_0, rtol=0, atol=5e-7)


def test_normal_lays_out_counters_and_seeds_as_cuda_does() -> None:
    seed, offset = 0xFEDCBA9876543210, 3
    counter = np.array([[offset, 0, 17, 0]], np.uint32).T
    first, second = philox(counter, seed)[:2, 0] + 0.5
    expected = np.sqrt(-2.0 * np.log(first / 2**32)) * np.sin(2.0 * np.pi * second / 2**32)
    assert normal(seed, (4, 5), offset)[3, 2] == pytest.approx(expected, abs=1e-6)


def test_normal_is_normal() -> None:
    drawn = normal(1, (1_000_000,)).astype(np.float64)
    assert drawn.mean() == pytest.approx(0.0, abs=4e-3)
    assert drawn.var() == pytest.approx(1.0, abs=6e-3)
    assert (drawn**4).mean() == pytest.approx(3.0, abs=4e-2)


@settings(deadline=None)
@given(seed=st.integers(0, 2**64 - 1), offset=st.integers(0, 2**32 - 1), size=st.integers(1, 9))
def test_normal_numbers_depend_on_their_place_alone(seed: int, offset: int, size: int) -> None:
    long = normal(seed, (2 * size,), offset)
    np.testing.assert_array_equal(normal(seed, (size,), offset), long[:size])
    assert long.dtype == np.float32
    assert np.isfinite(long).all()


def test_draws_and_seeds_differ() -> None:
    draws = [normal(seed, (64,), offset) for seed in (0, 1, 2**32) for offset in (0, 1)]
    assert len({draw.tobytes() for draw in draws}) == len(draws)


def test_latent_noise_is_channels_last_of_channels_first() -> None:
    noise = latent_noise(5, 3, 2, 4, offset=1)
    assert noise.shape == (3, 2, 4)
    assert noise.flags.c_contiguous
    np.testing.assert_array_equal(noise.transpose(2, 0, 1), normal(5, (4, 3, 2), 1))


@pytest.mark.parametrize("seed", [-1, 2**64, 3.7, "3", None])
def test_seeds_out_of_range_are_refused(seed: Any) -> None:
    with pytest.raises(ValueError, match=r"`seed` must be a whole number from 0 to"):
        normal(seed, (1,))


def test_offsets_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="`offset` must be a whole number from 0 to 4294967295"):
        normal(0, (1,), -1)


@pytest.mark.parametrize("counter", [np.zeros((4, 1)), np.zeros(4, np.uint32)])
def test_counters_of_another_kind_are_refused(counter: np.ndarray) -> None:
    with pytest.raises(ValueError, match="`counter` must be a uint32 array of shape"):
        philox(counter, 0)


# A variation, and the noise of another size


@given(st.floats(0, 1), st.integers(0, 99), st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_slerp_against_pytorch(share: float, seed: int, height: int) -> None:
    """Against A1111's: along the second axis of (C, h, w), in the arithmetic of PyTorch."""
    a, b = (latent_noise(seed + i, height + 1, 5) for i in (0, 100))
    low, high = (torch.from_numpy(x).permute(2, 0, 1).double() for x in (a, b))
    angle = torch.nn.functional.cosine_similarity(low, high, dim=1).acos().unsqueeze(1)
    expected = torch.sin((1 - share) * angle) * low + torch.sin(share * angle) * high
    expected = (expected / torch.sin(angle)).permute(1, 2, 0).numpy()
    found = slerp(a, b, share)
    assert found.dtype == np.float32
    size = np.abs(expected).max()
    assert np.abs(found - expected).max() < 1e-6 * max(size, 1)


def test_slerp_keeps_the_ends_and_the_variance() -> None:
    a, b = latent_noise(1, 64, 64), latent_noise(2, 64, 64)
    assert np.array_equal(slerp(a, b, 0), a)
    assert np.allclose(slerp(a, b, 1), b, atol=1e-6)
    half = slerp(a, b, 0.5)
    assert abs(half.std() - 1) < 0.02
    assert ((a + b) / 2).std() < 0.75
    assert np.allclose(half, slerp(b, a, 0.5), atol=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_slerp_of_noise_in_one_line(sign: int) -> None:
    """There is no circle between such columns; nothing becomes NaN."""
    a = latent_noise(1, 4, 4)
    assert np.allclose(slerp(a, np.float32(sign) * a, 1), sign * a)
    column = latent_noise(1, 1, 8)  # of one number each
    assert np.isfinite(slerp(column, latent_noise(2, 1, 8), 0.3)).all()


SIDE = st.integers(1, 9)


@given(SIDE, SIDE, SIDE, SIDE)
@settings(deadline=None)
def test_noise_is_placed_in_the_middle(h: int, w: int, n: int, m: int) -> None:
    """Where both are, an offset apart that is half of the difference; elsewhere the ground."""
    noise, ground = np.ones((n, m, 1)) * np.arange(1, m + 1)[:, None], np.zeros((h, w, 1))
    result = placed(noise, ground)
    assert not ground.any()
    rows, cols = (result[..., 0] > 0).any(axis=1).sum(), (result[..., 0] > 0).any(axis=0).sum()
    inside = [own + 2 * min((size - own) // 2, 0) for size, own in ((h, n), (w, m))]
    assert [rows, cols] == [max(side, 0) * (min(inside) > 0) for side in inside]
    if min(inside) > 0:
        margins = np.argwhere(result[..., 0] > 0).min(axis=0)
        assert [*margins] == [max((h - n) // 2, 0), max((w - m) // 2, 0)]
        assert result[margins[0], margins[1], 0] == 1 + max(-((w - m) // 2), 0)
