"""Embeddings in pictures, as A1111 hides them: in a text of the file or in the pixels.

A shape card has the low halves of some bytes in its left margin and the high halves in its right
one, each within four bits of a colour, under a pattern. A black column parts each margin from the
picture. The bytes are JSON, compressed.
"""

from __future__ import annotations

import base64
import binascii
import json
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sfumato.checkpoints.tensors import CheckpointError

TEXT = "sd-ti-embedding"
"""The text of a PNG file that holds an embedding."""
MAX_PIXELS = 2**25
MAX_JSON = 2**24
"""Longest content accepted, in bytes. A number takes about 20, and 16 vectors of 1.x 12,288."""


def read_shape_card(path: Path) -> Any:
    """What a picture holds, tensors as arrays; None: it holds no embedding.

    Raises:
        CheckpointError: the picture is damaged, or what it holds is.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # bounded right below
            picture = Image.open(path)
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError(f"it has more than {MAX_PIXELS} pixels")
        text = getattr(picture, "text", {}).get(TEXT)
        content = hidden(np.asarray(picture.convert("RGB"))) if text is None else decoded(text)
        return None if content is None else json.loads(content, object_hook=_tensors)
    except (OSError, ValueError, SyntaxError, RecursionError, zlib.error) as error:
        raise CheckpointError(f"`{path}` cannot be read as an embedding: {error}.") from error


def decoded(text: str) -> bytes:
    """The content of the text of a file."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"its text {TEXT} is damaged ({error})") from error


def hidden(pixels: np.ndarray) -> bytes | None:
    """The content of the margins of a picture (H, W, 3) uint8; None: there are no margins."""
    inside = (pixels > 0).all(axis=2)  # (H, W): what is not the black frame
    rows, columns = (np.flatnonzero(inside.sum(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    low = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] & 15
    black = np.flatnonzero(low.sum(axis=(0, 2)) == 0)
    if black.size < 2:
        return None
    left, right = low[:, : black[0]], low[:, black[-1] + 1 :]
    if left.shape != right.shape or not left.size:
        return None
    mask = pattern(left.size).reshape(left.shape)
    content = ((right ^ mask) << 4 | (left ^ mask)).tobytes()
    if content[:1] != b"x":  # of zlib: any other picture may have black columns
        return None
    reader = zlib.decompressobj()
    found = reader.decompress(content, MAX_JSON)
    if not reader.eof:
        raise ValueError(f"its margins hold more than {MAX_JSON} bytes, or are cut off")
    return found


def pattern(count: int) -> np.ndarray:
    """The four bits over each of ``count`` colours: those of a linear congruential generator."""
    states, state = np.empty(count, np.uint8), 0
    for i in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        states[i] = state % 255
    return states & 15


def _tensors(entry: dict[str, Any]) -> Any:
    """An array in place of its JSON object."""
    if "TORCHTENSOR" not in entry:
        return entry
    return np.array(entry["TORCHTENSOR"], "float32")
