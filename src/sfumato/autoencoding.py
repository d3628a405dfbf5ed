"""Pictures to latents and back, one at a time, large ones tile by tile."""

from __future__ import annotations

import numpy as np
from keras import ops

from sfumato.finite import check_finite
from sfumato.parts import Parts
from sfumato.pictures.tiling import tiled

TILED_ABOVE = 1536 * 1536  # pixels of a picture, beyond which the autoencoder works in tiles
TILE = 768  # pixels, a sixth of which overlap


def decode(parts: Parts, latents: np.ndarray) -> np.ndarray:
    """latents (h, w, C) -> pixels (H, W, 3) uint8, large ones tile by tile."""

    def run(x: np.ndarray) -> np.ndarray:
        pixels, is_finite = parts.decode(x)
        check_finite(parts, is_finite, "The decoder's picture is", "decoder")
        return ops.convert_to_numpy(pixels)

    x = latents[None].astype("float32")
    scale = parts.model.autoencoder_config.downsampling
    if x.shape[1] * x.shape[2] * scale**2 <= TILED_ABOVE:
        return run(x)[0]
    tile = TILE // scale
    return np.round(tiled(run, x, tile, tile // 6, scale)).astype("uint8")[0]


def encode_picture(parts: Parts, pixels: np.ndarray) -> np.ndarray:
    """pixels (H, W, 3) of 0..255 -> latents (h, w, C), large ones tile by tile."""

    def run(x: np.ndarray) -> np.ndarray:
        latents = ops.convert_to_numpy(parts.encode_picture(x))
        finite = np.isfinite(latents).all()
        check_finite(parts, finite, "The encoded picture is", "image_encoder")
        return latents

    x = pixels[None].astype("float32")
    if x.shape[1] * x.shape[2] <= TILED_ABOVE:
        return run(x)[0]
    scale = 1 / parts.model.autoencoder_config.downsampling
    return tiled(run, x, TILE, TILE // 6, scale)[0]
