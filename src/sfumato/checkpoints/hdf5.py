"""Keras's legacy HDF5 weights, in which KerasCV published Stable Diffusion.

The file lists its layers and each layer its weights; that order is the format, names mean little.
An HDF5 file can point at other files and declare arrays larger than itself, so only plain arrays
are accepted that lie in the file as they are, and these are mapped, not read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from sfumato.checkpoints.tensors import CheckpointError, map_file, view

MAX_NAMES = 2**20
"""Most bytes that a list of names may have. (Of h5py's texts of any length, the references.)"""


class Weight(NamedTuple):
    """One array of the file, in Keras's layout."""

    name: str
    array: np.ndarray


def read_keras_h5(path: str | os.PathLike[str]) -> list[Weight]:
    """All weights in the order of the file, as views of it.

    Raises:
        CheckpointError: the file is damaged, is not of this format, links to anything, or stores an
            array compressed, in chunks, in another file or as a virtual data set.
    """
    path = Path(path)
    raw = map_file(path)
    try:
        with h5py.File(path, "r") as file:
            if file.userblock_size:
                raise ValueError("it begins with a user block")
            root = _child(file, "model_weights") if "model_weights" in file else file
            return [
                Weight(f"{layer}/{name}", _array(raw, _child(_child(root, layer), name)))
                for layer in _names(root, "layer_names")
                for name in _names(_child(root, layer), "weight_names")
            ]
    except (ValueError, KeyError, TypeError, OSError, RuntimeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"`{path}` is not a sound Keras .h5 file: {error}.") from error


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names, which Keras splits into attribute0, attribute1, ... if it is long."""
    if attribute in group.attrs:
        parts = [attribute]
    else:
        parts = []
        while f"{attribute}{len(parts)}" in group.attrs:
            parts.append(f"{attribute}{len(parts)}")
    if not parts:
        raise ValueError(f"`{group.name}` has no list `{attribute}` as Keras's legacy format has")
    return [_text(name) for part in parts for name in _attribute(group, part)]


def _attribute(group: Any, name: str) -> list[Any]:
    declared = group.attrs.get_id(name)
    count = np.prod(declared.shape, dtype=object)
    if not count:
        return []  # a layer without weights
    if count > MAX_NAMES or declared.get_storage_size() > MAX_NAMES:
        raise ValueError(f"the list `{name}` of `{group.name}` is longer than any model's")
    return list(np.atleast_1d(group.attrs[name]))


def _text(name: Any) -> str:
    return name.decode("utf-8") if isinstance(name, bytes) else str(name)


def _child(group: Any, path: str) -> Any:
    """A member by its path, every part of which is a hard link."""
    for part in path.split("/"):
        if part in {"", ".", ".."}:
            raise ValueError(f"the name {path!r} is not one that Keras gives")
        kind = group.get(part, getclass=False, getlink=True)
        if not isinstance(kind, h5py.HardLink):
            raise ValueError(f"`{path}` is a {type(kind).__name__}, not data of this file")
        group = group[part]
    return group


def _array(raw: np.ndarray, data: Any) -> np.ndarray:
    """A view of a data set that lies in the file in one piece."""
    if not isinstance(data, h5py.Dataset):
        raise ValueError(f"`{data.name}` is not an array")
    if data.external:
        raise ValueError(f"`{data.name}` is kept in another file")
    if data.is_virtual:
        raise ValueError(f"`{data.name}` is a virtual data set")
    if data.dtype.kind != "f":
        raise ValueError(f"`{data.name}` has the dtype {data.dtype}")
    if data.id.get_create_plist().get_layout() != h5py.h5d.CONTIGUOUS:
        raise ValueError(f"`{data.name}` is compressed or stored in chunks")
    offset = data.id.get_offset()
    if offset is None:
        raise ValueError(f"`{data.name}` was never written")
    return view(raw, offset, data.dtype, data.shape)
