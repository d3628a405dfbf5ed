from __future__ import annotations

import numpy as np
import pytest

from sfumato.pictures import fit_factors, latents_to_rgb

RNG = np.random.default_rng(3)
FACTORS = np.concatenate([RNG.uniform(-0.04, 0.04, (4, 3)), [[0.5, 0.4, 0.6]]])  # (C + 1, 3)


def pairs(scale: int = 8, noise: float = 0.0):
    """Latents, and pictures whose 8x8 blocks have the mean colours that FACTORS say."""
    latents = RNG.uniform(-2, 2, (3, 4, 6, 4))
    colours = latents @ FACTORS[:4] + FACTORS[4]
    images = colours.repeat(scale, axis=1).repeat(scale, axis=2)
    images = images + noise * RNG.normal(size=images.shape)
    return latents, np.rint(255 * images.clip(0, 1)).astype(np.uint8)


def test_the_fit_finds_the_factors():
    for noise, tolerance in ((0, 5e-4), (0.05, 5e-3)):
        factors = fit_factors(*pairs(noise=noise))
        assert factors.dtype == np.float32
        np.testing.assert_allclose(factors, FACTORS, atol=tolerance)


def test_the_preview_is_the_small_picture():
    latents, images = pairs()
    preview = latents_to_rgb(latents, fit_factors(latents, images))
    assert preview.dtype == np.uint8
    assert preview.shape == (3, 4, 6, 3)
    assert np.abs(preview.astype(int) - images[:, ::8, ::8]).max() <= 1
    one = latents_to_rgb(latents[1], fit_factors(latents, images))
    np.testing.assert_array_equal(one, preview[1])


def test_known_colours():
    factors = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [0.5, 0.5, 0.5]])
    latents = np.array([[[0, 0, 0, 9], [0.5, 0, -0.5, 0], [99, -99, 0, 0]]])  # (1, 3, 4)
    assert latents_to_rgb(latents, factors).tolist() == [
        [[128, 128, 128], [255, 128, 0], [255, 0, 128]]
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_latents_that_are_not_finite_are_black(value):
    assert not latents_to_rgb(np.full((2, 2, 4), value), FACTORS).any()


def test_shapes_are_checked():
    latents, images = pairs()
    with pytest.raises(ValueError, match=r"`factors` must be \(C \+ 1, 3\)"):
        latents_to_rgb(latents, FACTORS[:4])
    with pytest.raises(ValueError, match="must be a multiple of `latents` in size"):
        fit_factors(latents, images[:, :-1])
    with pytest.raises(ValueError, match="must be a multiple of `latents` in size"):
        fit_factors(latents[:2], images)
    with pytest.raises(ValueError, match="`images` uint8"):
        fit_factors(latents, images / 255)
