"""Pictures and masks as arrays of uint8, whatever form they come in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
from typing import Any

import numpy as np
from PIL import Image

from sfumato._numbers import MAX_PIXELS
from sfumato.pictures.files import load, opened, upright

DATA_URL = "data:image/png;base64,"


def as_image(value: Any) -> np.ndarray:
    """A picture as uint8 (H, W, 3) that nobody writes to.

    Args:
        value: a file's path, one of Pillow's pictures, or an array or a tensor of 0..255, whatever
            its type: (H, W, 3), grey (H, W) or (H, W, 1), or with transparency (H, W, 4). What is
            transparent lies on white.

    Raises:
        ValueError: it is none of these, or was divided by 255: floats that all lie in 0..1.
    """
    if _is_ready(value, 3):
        return value
    if isinstance(value, (str, os.PathLike)):
        return _sealed(load(value))
    if isinstance(value, Image.Image):
        return _sealed(_from_pillow(value))
    pixels = _numbers(value)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3, 4) or not pixels.size:
        turn = ": move its first axis to the end" if pixels.shape[:1] in ((1,), (3,), (4,)) else ""
        raise ValueError(f"the shape {pixels.shape} is not (H, W, 3){turn}")
    kind, pixels = pixels.dtype, _within(pixels, 255)
    if kind.kind in "bf" and 0 < pixels.max() <= 1:  # all black is black in any range
        raise ValueError(f"{kind} of 0..1 is nearly black: multiply it by 255")
    pixels = np.rint(pixels).astype(np.uint8)
    if pixels.shape[-1] == 4:
        return _sealed(upright(Image.fromarray(pixels)))
    return _sealed(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))


def as_mask(value: Any) -> np.ndarray:
    """A mask as uint8 (H, W) that nobody writes to: 255 where to paint, 0 where to keep.

    Args:
        value: a file's path, one of Pillow's pictures, an array (H, W) of uint8 with 0..255, or an
            array or a tensor (H, W) of another type with 0..1. Nothing of it is transparent.

    Raises:
        ValueError: it is none of these, or has 0..1 where 0..255 is meant.
    """
    if _is_ready(value, 2):
        return value
    if isinstance(value, (str, os.PathLike)):
        with opened(value) as picture:
            return as_mask(picture)
    if isinstance(value, Image.Image):
        value = np.array(Image.fromarray(_from_pillow(value, see_through=False)).convert("L"))
    mask = _numbers(value)
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"the shape {mask.shape} is not (H, W)")
    if mask.dtype != np.uint8:
        mask = np.rint(255 * _within(mask, 1)).astype(np.uint8)
    if mask.max() == 1:
        raise ValueError("values of 0..1 as uint8 paint nothing: multiply them by 255")
    return _sealed(mask.copy())


def to_data_url(pixels: np.ndarray) -> str:
    """A picture (H, W, 3) or a mask (H, W), uint8, as the URL of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return DATA_URL + base64.b64encode(file.getvalue()).decode()


def from_data_url(text: Any, is_mask: bool = False) -> np.ndarray:
    """The pixels of a PNG, JPEG or WebP file in a data URL.

    Raises:
        ValueError: it is no such URL.
    """
    head, _, body = text.partition(",") if isinstance(text, str) else ("", "", "")
    if not head.startswith("data:image/") or not head.endswith(";base64"):
        raise ValueError("it is no data URL of a picture")
    try:
        content = base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise ValueError("it is no base64") from error
    with opened(io.BytesIO(content)) as picture:
        return as_mask(picture) if is_mask else upright(picture)


def digest(pixels: np.ndarray) -> str:
    """Text that tells a picture or a mask, uint8, from others, whatever file it comes from."""
    shape = "x".join(map(str, pixels.shape))
    return hashlib.sha256(shape.encode() + b"\0" + pixels.tobytes()).hexdigest()[:16]


def _from_pillow(picture: Image.Image, see_through: bool = True) -> np.ndarray:
    """The pixels of one of Pillow's pictures, which may not be decoded yet."""
    if picture.width * picture.height > MAX_PIXELS:
        size = f"{picture.width}x{picture.height}"
        raise ValueError(f"a picture of {size} has more than {MAX_PIXELS} pixels")
    if not picture.width * picture.height:
        raise ValueError("it has no pixels")
    try:
        return upright(picture, see_through)
    except OSError as error:
        raise ValueError(f"it is damaged ({error})") from error


def _sealed(pixels: np.ndarray) -> np.ndarray:
    """The array, which may be shared from now on because nobody can write to it."""
    pixels.flags.writeable = False
    return pixels


def _is_ready(value: Any, rank: int) -> bool:
    """Whether this went through here before."""
    is_ours = isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == rank
    return is_ours and not value.flags.writeable and (rank == 2 or value.shape[-1] == 3)


def _numbers(value: Any) -> np.ndarray:
    """The value as an array; ValueError unless it is one of numbers."""
    if hasattr(value, "detach"):  # a tensor of PyTorch, wherever it is, trained or not
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
    pixels = np.asarray(value)
    if pixels.dtype.name == "bfloat16":
        pixels = pixels.astype(np.float32)
    if pixels.dtype.kind not in "biuf":
        raise ValueError(f"{pixels.dtype} is not a number")
    return pixels


def _within(pixels: np.ndarray, most: int) -> np.ndarray:
    """The array in float64; ValueError unless all of it is from 0 to ``most``."""
    pixels = pixels.astype(np.float64)
    if not 0 <= pixels.min() <= pixels.max() <= most:
        raise ValueError(f"values from {pixels.min()} to {pixels.max()} are not in 0..{most}")
    return pixels
