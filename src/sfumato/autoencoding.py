"""Pictures to latents and back, one at a time, large ones tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from keras import ops

from sfumato.finite import check_finite
from sfumato.parts import Parts
from sfumato.pictures.tiling import tiled

TILED_ABOVE = 1536 * 1536  # pixels of a picture, beyond which the autoencoder works in tiles
TILE = 768  # pixels, a sixth of which overlap


def decode(parts: Parts, latents: np.ndarray, seamless: str | None = None) -> np.ndarray:
    """latents (h, w, C) -> pixels (H, W, 3) uint8, large ones tile by tile.

    With ``seamless`` ("x", "y" or "both") the picture repeats along these axes.
    """
    return next(decode_all(parts, latents[None], seamless))


def decode_all(
    parts: Parts, latents: np.ndarray, seamless: str | None = None
) -> Iterator[np.ndarray]:
    """``decode`` each of latents (B, h, w, C): one at a time, or one on each device."""
    ways = {"seamless": seamless} if seamless else {}

    def run(x: np.ndarray, **ways: str) -> np.ndarray:
        pixels, is_finite = parts.decode(x, **ways)
        check_finite(parts, is_finite, "The decoder's picture is", "decoder")
        return ops.convert_to_numpy(pixels)

    B, h, w, _ = latents.shape
    scale = parts.model.autoencoder_config.downsampling
    is_large = h * w * scale**2 > TILED_ABOVE
    step = 1 if is_large else parts.devices
    for i in range(0, B, step):
        x = latents[i : i + step].astype("float32")
        if is_large:
            pixels = in_tiles(run, x, TILE // scale, scale, seamless)
            yield from np.round(pixels).astype("uint8")
        else:
            yield from run(x, **ways)


def encode_picture(parts: Parts, pixels: np.ndarray, seamless: str | None = None) -> np.ndarray:
    """pixels (H, W, 3) of 0..255 -> latents (h, w, C), large ones tile by tile."""
    ways = {"seamless": seamless} if seamless else {}

    def run(x: np.ndarray, **ways: str) -> np.ndarray:
        latents = ops.convert_to_numpy(parts.encode_picture(x, **ways))
        finite = np.isfinite(latents).all()
        check_finite(parts, finite, "The encoded picture is", "image_encoder")
        return latents

    x = pixels[None].astype("float32")
    if x.shape[1] * x.shape[2] <= TILED_ABOVE:
        return run(x, **ways)[0]
    return in_tiles(run, x, TILE, 1 / parts.model.autoencoder_config.downsampling, seamless)[0]


def in_tiles(
    run: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    tile: int,
    scale: float,
    seamless: str | None,
) -> np.ndarray:
    """``tiled``, where a picture that repeats is continued beyond its edges and cut again."""
    overlap = tile // 6
    if not seamless:
        return tiled(run, x, tile, overlap, scale)
    margin = -(-overlap // 8) * 8  # whole latents
    repeats = [seamless in (axis, "both") for axis in ("y", "x")]
    sides = [(margin * each, margin * each) for each in repeats]
    y = tiled(run, np.pad(x, ((0, 0), *sides, (0, 0)), "wrap"), tile, overlap, scale)
    top, left = (round(scale * before) for before, _ in sides)
    _, H, W, _ = x.shape
    return y[:, top : top + round(scale * H), left : left + round(scale * W)]
