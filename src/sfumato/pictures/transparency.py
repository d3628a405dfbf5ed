"""Pictures in two layers: colours, and how opaque they are."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from sfumato.pictures.files import opened
from sfumato.pictures.pixels import as_image

Layers = tuple[np.ndarray, np.ndarray | None]
"""Colours (H, W, 3), and alpha (H, W) or None where nothing is transparent, uint8."""


def as_layers(value: Any) -> Layers:
    """The layers of a picture in any form that `as_image` takes.

    Colours that cannot be seen are those of the nearest that can, so that none comes out at an
    edge when the picture is filtered.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no picture.
    """
    if isinstance(value, (str, os.PathLike)):
        with opened(value) as picture:
            return _of_pillow(picture)
    if isinstance(value, Image.Image):
        return _of_pillow(value)
    shape = getattr(value, "shape", ())
    if len(shape) == 3 and shape[-1] == 4:
        return _filled(_checked(value[..., :3]), _checked(value[..., 3])[..., 0])
    return _checked(value), None


def on_top(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Both layers as one array (H, W, 4)."""
    return np.concatenate([colours, alpha[..., None]], axis=-1)


def _checked(value: Any) -> np.ndarray:
    try:
        return as_image(value)
    except ValueError as error:
        raise ValueError(f"`image` must be a picture. Received: {error}") from error


def _of_pillow(picture: Image.Image) -> Layers:
    if not picture.has_transparency_data:
        return _checked(picture), None
    pixels = np.array(ImageOps.exif_transpose(picture).convert("RGBA"))
    return _filled(pixels[..., :3], pixels[..., 3])


def _filled(colours: np.ndarray, alpha: np.ndarray) -> Layers:
    """The layers, with colours where nothing is seen; alpha is dropped where it says nothing."""
    from scipy.ndimage import distance_transform_edt

    if alpha.min() == 255:
        return colours, None
    hidden = alpha == 0
    if hidden.any() and not hidden.all():
        nearest = distance_transform_edt(hidden, return_distances=False, return_indices=True)
        colours = colours[tuple(np.asarray(nearest))]
    return colours, alpha
