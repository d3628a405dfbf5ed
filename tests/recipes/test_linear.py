"""The linear encoder: components against numpy's SVD, the constructed network against them."""

from __future__ import annotations

import numpy as np
from keras import ops
from toy_drawings import toy_pack

from recipes.mini import linear
from recipes.mini.compose import Composer
from recipes.mini.stream import make
from sfumato.networks.autoencoder import ImageEncoder
from sfumato.networks.configs import AutoencoderConfig

CONFIG = AutoencoderConfig((8, 16, 32, 64), 1, 16, 4, 1.0)


def pictures(count: int, seed: int) -> np.ndarray:
    composer = Composer(toy_pack(32), ("3d render", "flat drawing"), scenes=0.5)
    return make(composer, count, seed)[0] / np.float32(127.5) - 1


def test_patches_are_the_squares_of_the_picture():
    x = np.arange(2 * 8 * 8 * 3, dtype="float32").reshape(2, 8, 8, 3)
    found = linear.patches(x, 4)
    np.testing.assert_array_equal(found[1, 0, 1].reshape(4, 4, 3), x[1, :4, 4:8])


def test_the_components_lose_least():
    """No linear code of as many numbers loses less: the truncated SVD is the judge."""
    x = pictures(60, 0)
    found = linear.fit([x[:30], x[30:]], 8, 12)
    flat = linear.patches(x, 8).reshape(-1, 192)
    codes = np.concatenate([found.encode(x).reshape(-1, 12), np.ones((len(flat), 1))], axis=1)
    back = codes @ np.linalg.lstsq(codes, flat, rcond=None)[0]
    values = np.linalg.svd(flat - flat.mean(0), compute_uv=False)
    np.testing.assert_allclose(np.sum((flat - back) ** 2), np.sum(values[12:] ** 2), rtol=1e-3)


def test_the_latents_have_variance_one():
    x = pictures(60, 0)
    latents = linear.fit([x], 8, 16).encode(x)
    np.testing.assert_allclose(np.mean(latents**2), 1.0, rtol=0.02)
    np.testing.assert_allclose(latents.mean((0, 1, 2)), 0, atol=1e-3)


def test_the_network_computes_the_components():
    found = linear.fit([pictures(60, 0)], 8, CONFIG.latent_channels)
    encoder = ImageEncoder(CONFIG, "float32")
    encoder.initialize(0)
    linear.construct(encoder, found, pictures(60, 1))
    x = pictures(8, 2)
    latents, wanted = ops.convert_to_numpy(encoder(x)), found.encode(x)
    assert latents.shape == (8, 4, 4, 16)
    assert np.sqrt(np.mean((latents - wanted) ** 2)) < 0.02


def test_components_are_recovered_from_what_computes_them():
    fitted = linear.fit([pictures(60, 0)], 8, 16)
    found = linear.recover(fitted.encode, [pictures(40, 3), pictures(40, 4)], 8)
    x = pictures(8, 2)
    np.testing.assert_allclose(found.encode(x), fitted.encode(x), atol=0.02)
