"""The safetensors format: an 8-byte length, a JSON header, then the bytes of the tensors.

https://huggingface.co/docs/safetensors. Everything the header says is checked against the size of
the file before any of it is used, and the tensors are views of the mapped file.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from sfumato._files import replacing
from sfumato.checkpoints.tensors import CheckpointError, Tensors, map_file, view

MAX_HEADER = 4 * 2**20
"""Longest header accepted, in bytes, as its objects take many times that. SDXL's has 0.3 MB."""

DTYPES: dict[str, np.dtype] = {
    name: np.dtype(kind)
    for name, kind in {
        "F64": np.float64,
        "F32": np.float32,
        "F16": np.float16,
        "BF16": ml_dtypes.bfloat16,
        "F8_E4M3": ml_dtypes.float8_e4m3fn,
        "F8_E5M2": ml_dtypes.float8_e5m2,
        "I64": np.int64,
        "I32": np.int32,
        "I16": np.int16,
        "I8": np.int8,
        "U8": np.uint8,
        "BOOL": np.bool_,
    }.items()
}
NAMES = {kind: name for name, kind in DTYPES.items()}


def read_safetensors(path: str | os.PathLike[str]) -> Tensors:
    """All tensors of a file, as views of it.

    Raises:
        CheckpointError: the header is too long, not JSON, names a tensor twice, or its offsets
            overlap, leave holes, exceed the file or contradict dtype and shape.
    """
    path = Path(path)
    raw = map_file(path)
    try:
        start, entries = _header(raw)
        return _views(raw, start, entries)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"`{path}` is not a sound safetensors file: {error}.") from error


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts in the header of a sound file; those that are none are left out."""
    _, entries = _header(map_file(Path(path)))
    said = entries.get("__metadata__")
    said = said if isinstance(said, dict) else {}
    return {name: text for name, text in said.items() if isinstance(text, str)}


def write_safetensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the tensors, one at a time; the file appears under its name when it is complete."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    stop = 0
    for name, array in tensors.items():
        start, stop = stop, stop + array.nbytes
        header[name] = {
            "dtype": NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [start, stop],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    with replacing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _header(raw: np.ndarray) -> tuple[int, dict[str, Any]]:
    """The offset of the first tensor, and the entries of the header."""
    if raw.size < 8:
        raise ValueError("it ends within the header's length; download it again")
    length = int.from_bytes(raw[:8].tobytes(), "little")
    if length > MAX_HEADER:
        raise ValueError(f"the header claims {length} bytes, more than {MAX_HEADER}")
    if 8 + length > raw.size:
        raise ValueError(f"the header claims {length} bytes and the file has {raw.size}")
    header = json.loads(raw[8 : 8 + length].tobytes(), object_pairs_hook=_unique)
    if not isinstance(header, dict):
        raise ValueError("the header is not a JSON object")
    return 8 + length, header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(double, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the name {double!r} appears twice")
    return found


def _views(raw: np.ndarray, start: int, header: dict[str, Any]) -> Tensors:
    entries = [(n, *_entry(n, e)) for n, e in header.items() if n != "__metadata__"]
    entries.sort(key=lambda entry: entry[3])
    stop = max((stop for *_, (_, stop) in entries), default=0)
    if raw.size < start + stop < 2**48:
        raise ValueError(
            f"it is cut off, with {raw.size} of {start + stop} bytes: download it again"
        )
    tensors: Tensors = {}
    end = 0
    for name, dtype, shape, (begin, stop) in entries:
        if begin != end:
            what = "overlaps the tensor before it" if begin < end else "leaves a hole before it"
            raise ValueError(f"{name!r} {what} (offset {begin}, expected {end})")
        if stop - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{name!r} has {stop - begin} bytes for {dtype} {shape}")
        tensors[name] = view(raw, start + begin, dtype, shape)
        end = stop
    if start + end != raw.size:
        raise ValueError(f"the tensors end at byte {start + end} of {raw.size}")
    return tensors


def _entry(name: str, entry: Any) -> tuple[np.dtype, tuple[int, ...], tuple[int, int]]:
    """dtype, shape and offsets of one tensor, or a ValueError that names it."""
    try:
        dtype, shape, (begin, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"the entry of {name!r} lacks a dtype, shape or offsets") from None
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{name!r} has the unknown dtype {dtype!r}")
    numbers = (*shape, begin, stop) if isinstance(shape, list) else (None,)
    if any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError(f"shape and offsets of {name!r} must be whole numbers")
    return DTYPES[dtype], tuple(shape), (begin, stop)
