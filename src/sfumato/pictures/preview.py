"""Preview of latents: an approximate picture without a decoder.

A latent is nearly a small picture. The mean colour of the 8x8 pixels below it is almost a linear
function of its C channels. So one (C + 1, 3) matrix, whose last row is the constant term, turns
latents into colours. Every autoencoder has its own matrix; `fit_factors` finds it from a few
pictures and their latents.
"""

from __future__ import annotations

import numpy as np


def latents_to_rgb(latents: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Make an approximate picture, as large as the latents.

    Args:
        latents: float (..., h, w, C).
        factors: float (C + 1, 3), from `fit_factors` on latents of the same scale.

    Returns:
        uint8 (..., h, w, 3). Latents that are not finite are black.

    Raises:
        ValueError: the shapes do not fit together.
    """
    latents, factors = np.asarray(latents, np.float32), np.asarray(factors, np.float32)
    if latents.ndim < 3 or factors.shape != (latents.shape[-1] + 1, 3):
        received = f"latents {latents.shape}, factors {factors.shape}"
        raise ValueError(f"`factors` must be (C + 1, 3) for (..., h, w, C). Received: {received}")
    with np.errstate(all="ignore"):
        colours = latents @ factors[:-1] + factors[-1]  # (..., h, w, 3), 0 to 1
    return np.rint(255 * np.nan_to_num(colours, posinf=0, neginf=0).clip(0, 1)).astype(np.uint8)


def fit_factors(latents: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Fit the factors that predict pictures from their latents best, by least squares.

    Args:
        latents: float (N, h, w, C).
        images: uint8 (N, H, W, 3), the pictures; H and W are the same multiple of h and w.

    Returns:
        float32 (C + 1, 3): rows for the channels, then the constant term, in units of the full
        range of a colour.

    Raises:
        ValueError: the shapes do not fit together.
    """
    latents, images = np.asarray(latents, np.float64), np.asarray(images)
    shapes = f"latents {latents.shape}, images {images.shape} {images.dtype}"
    if latents.ndim != 4 or images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        message = "`latents` must be (N, h, w, C) and `images` uint8 (N, H, W, 3)."
        raise ValueError(f"{message} Received: {shapes}")
    N, h, w, C = latents.shape
    scale = images.shape[1] // h
    if images.shape != (N, h * scale, w * scale, 3):
        raise ValueError(f"`images` must be a multiple of `latents` in size. Received: {shapes}")

    blocks = images.reshape(N, h, scale, w, scale, 3) / 255
    colours = blocks.mean(axis=(2, 4)).reshape(-1, 3)  # (N h w, 3)
    inputs = np.concatenate([latents.reshape(-1, C), np.ones((N * h * w, 1))], axis=1)
    factors, *_ = np.linalg.lstsq(inputs, colours, rcond=None)
    return factors.astype(np.float32)
