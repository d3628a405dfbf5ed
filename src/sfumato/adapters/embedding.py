"""Textual inversion (Gal et al. 2022, arXiv 2208.01618): files with the vectors of a new word."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfumato.adapters.shape_cards import read_shape_card
from sfumato.checkpoints import nature
from sfumato.checkpoints.pickles import Parameters, read_content
from sfumato.checkpoints.safetensors import read_safetensors
from sfumato.checkpoints.tensors import CheckpointError

PICTURES = (".png", ".webp")
SAFE = (".safetensors", ".pti")
ENDINGS = (*SAFE, ".pt", ".bin", *PICTURES)

PAIRS = (("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1"), ("emb", "emb2"))
"""The names of vectors for XL's first text encoder and for its second one."""
MADE_FOR = {(768,): "1.x", (1024,): "2.x", (1280,): "XL's second text encoder", (768, 1280): "XL"}
"""The models by the widths of an embedding."""
MOST = 1024
"""Vectors that are accepted. A text encoder reads 75 at once."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """The vectors of one word."""

    vectors: tuple[np.ndarray, ...]
    """float32 (n, C) for each text encoder."""
    digest: str = ""
    """SHA-256 of the file."""
    token: str = ""
    """The word under which the file has it, such as "<cat-toy>"; empty: none."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Embedding) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __len__(self) -> int:
        return len(self.vectors[0])

    def __repr__(self) -> str:
        shapes = " and ".join(str(each.shape) for each in self.vectors)
        return f"Embedding({shapes}, digest={self.digest[:12]!r})"

    def _key(self) -> tuple[Any, ...]:
        return self.digest, tuple((each.shape, each.tobytes()) for each in self.vectors)

    @property
    def widths(self) -> tuple[int, ...]:
        """C for each text encoder."""
        return tuple(each.shape[1] for each in self.vectors)

    @property
    def made_for(self) -> str:
        """The models that it is for, in words."""
        return MADE_FOR.get(self.widths, f"text encoders of width {self.widths}")


def read_embedding(path: Path) -> Embedding | None:
    """The embedding in a file of any program; None: a picture that holds none.

    Raises:
        CheckpointError: the file is damaged, or holds something else.
    """
    ending = path.suffix.lower()
    if ending in PICTURES:
        content = read_shape_card(path)
        if content is None:
            return None
    else:
        content = read_safetensors(path) if ending in SAFE else read_content(path)
    try:
        arrays, token = vectors_in(content)
        if ending in PICTURES and isinstance(content, dict) and content.get("name"):
            token = str(content["name"])
        vectors = tuple(checked(array) for array in arrays)
        if len({len(each) for each in vectors}) > 1:
            raise ValueError("its text encoders have different numbers of vectors")
    except ValueError as error:
        raise CheckpointError(f"`{path}` holds no embedding: {error}.") from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Embedding(vectors, digest, token)


def vectors_in(content: Any) -> tuple[tuple[Any, ...], str]:
    """The arrays of a file's content for each text encoder, and the word that it names.

    Raises:
        ValueError: it has none, or those of several words.
    """
    if isinstance(content, np.ndarray):
        return (content,), ""
    if isinstance(content, list):
        content = {k: v for each in content if isinstance(each, Mapping) for k, v in each.items()}
    if not isinstance(content, Mapping):
        raise ValueError(f"it holds a {type(content).__name__}")
    if "string_to_param" in content:  # A1111's
        content = content["string_to_param"]
        content = content.items if isinstance(content, Parameters) else content
        if not isinstance(content, Mapping):
            raise ValueError("its string_to_param is no dictionary")
        if len(content) == 1:  # by a name that says nothing
            return tuple(content.values()), ""
    for pair in PAIRS:
        if all(name in content for name in pair):
            return tuple(content[name] for name in pair), ""
    named = {str(name): x for name, x in content.items() if isinstance(x, np.ndarray)}
    if len(named) != 1:
        held = nature.of_names([*map(str, content)]) if len(named) < 2 else f"{len(named)} tensors"
        raise ValueError(f"it holds {held}")
    ((name, array),) = named.items()
    return (array,), name if is_marked(name) else ""


def checked(array: Any) -> np.ndarray:
    """Vectors (n, C) float32; ValueError if these are none."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fV":  # V: bfloat16
        raise ValueError("its vectors are no floating-point numbers")
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or not 1 <= len(array) <= MOST or not 1 <= array.shape[1] <= 2**14:
        raise ValueError(f"its tensor has the shape {array.shape}, not that of vectors")
    with np.errstate(over="ignore"):
        vectors = np.array(array, "float32")
    if not np.isfinite(vectors).all():
        raise ValueError("some of its numbers are not finite")
    return vectors


def is_marked(name: str) -> bool:
    """Whether a name is one in angle brackets, which is found inside of any text."""
    return len(name) > 2 and name[0] == "<" and name[-1] == ">"


def read_embeddings(path: Path) -> tuple[dict[str, Embedding], dict[str, str]]:
    """The embeddings of a folder, or of one file, by the name of each file and its own word.

    Folders within the folder are read, too. Of two files of a name the later one counts.

    Returns:
        The embeddings, and the reasons why other files were left out, by their names.

    Raises:
        OSError: there is no such folder, or it cannot be read.
    """
    files = sorted(path.rglob("*"), key=lambda file: file.name.lower()) if path.is_dir() else [path]
    found: dict[str, Embedding] = {}
    others: dict[str, str] = {}
    for file in files:
        is_preview = file.stem.lower().endswith(".preview")
        if file.suffix.lower() not in ENDINGS or is_preview or not file.is_file():
            continue
        try:
            embedding = read_embedding(file)
        except CheckpointError as error:
            others[file.name] = str(error)
            continue
        if embedding is not None:
            found |= dict.fromkeys(filter(None, (file.stem, embedding.token)), embedding)
    return found, others
