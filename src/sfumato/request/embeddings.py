"""The embeddings of a request: learned words by name, and what a recipe says of them."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.request.kinds import Kind

if TYPE_CHECKING:
    from sfumato.adapters.embedding import Embedding

TI_HASHES = "TI hashes"
"""A1111's item of a recipe: the learned words that a picture was made with."""
DIGITS = 12
"""Of a file's SHA-256, as A1111 shows them."""


class Embeddings(Kind):
    """Learned words by name: a folder or a file, which is read at once, or files by name.

    A recipe and JSON name no files: JSON has the vectors themselves.
    """

    must = "be a folder or a file with embeddings, or files of embeddings by name"
    metavar = "FOLDER"

    def check(self, value: Any) -> dict[str, Embedding]:
        if isinstance(value, (str, Path)):
            return _read(Path(value))
        if not hasattr(value, "keys") or not all(isinstance(name, str) for name in value):
            raise ValueError
        names = sorted(filter(str.strip, value), key=lambda name: (name.lower(), name))
        return {name: _one(value[name]) for name in names}

    def received(self, name: str, value: Any, error: Exception) -> str:
        return f"{name}={value!r} ({error})" if str(error) else f"{name}={value!r}"

    def to_json(self, value: Any) -> dict[str, Any]:
        return {name: _packed(embedding) for name, embedding in value.items()}

    def from_json(self, value: Any) -> dict[str, Embedding]:
        if not hasattr(value, "items"):
            raise ValueError
        return self.check({name: _unpacked(entry) for name, entry in value.items()})

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": WORD}


WORD = {
    "type": "object",
    "properties": {
        "count": {"type": "integer"},
        "digest": {"type": "string"},
        "vectors": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    },
    "required": ["count", "digest", "vectors"],
}
"""JSON's form of an embedding: float32 vectors of each text encoder in base64."""


def _one(value: Any) -> Embedding:
    """An embedding, or that of a file."""
    from sfumato._files import expanded
    from sfumato.adapters.embedding import Embedding, read_embedding

    if isinstance(value, Embedding):
        return value
    if not isinstance(value, (str, Path)):
        raise ValueError
    try:
        found = read_embedding(expanded(value))
    except OSError as error:
        raise ValueError(str(error)) from error
    if found is None:
        raise ValueError(f"{value} holds none")
    return found


def _read(path: Path) -> dict[str, Embedding]:
    """The embeddings of a folder or of a file; warns of files that are none."""
    from sfumato._files import expanded
    from sfumato.adapters.embedding import read_embeddings

    try:
        found, others = read_embeddings(expanded(path))
    except OSError as error:
        raise ValueError(str(error)) from error
    if not found:
        raise ValueError(next(iter(others.values()), "there are none"))
    if others:
        first = next(iter(others.values()))
        warnings.warn(f"Not used as embeddings: {', '.join(others)}. {first}", stacklevel=2)
    return found


def _packed(embedding: Embedding) -> dict[str, Any]:
    rows = [base64.b64encode(each.astype("<f4").tobytes()).decode() for each in embedding.vectors]
    return {"count": len(embedding), "digest": embedding.digest, "vectors": rows}


def _unpacked(entry: Any) -> Embedding:
    import numpy as np

    from sfumato.adapters.embedding import Embedding, checked

    try:
        count, rows, digest = int(entry["count"]), entry["vectors"], str(entry["digest"])
        raw = [np.frombuffer(base64.b64decode(text, validate=True), "<f4") for text in rows]
        vectors = tuple(checked(each.reshape(count, -1)) for each in raw)
    except (KeyError, TypeError) as error:
        raise ValueError from error
    if not vectors:
        raise ValueError
    return Embedding(vectors, digest)


def hashes(embeddings: Mapping[str, Embedding]) -> dict[str, str]:
    """The item of a recipe that tells the embeddings it was made with, as A1111 writes it."""
    said = [f"{_plain(name)}: {each.digest[:DIGITS]}" for name, each in embeddings.items()]
    return {TI_HASHES: ", ".join(said)} if said else {}


def lost(embeddings: Mapping[str, Embedding], items: Mapping[str, str]) -> list[str]:
    """The embeddings that a recipe's items state and that are not among these, or are others."""
    said = (entry.partition(":") for entry in items.get(TI_HASHES, "").split(",") if entry.strip())
    here = {_plain(name): each.digest for name, each in embeddings.items()}
    return [
        name.strip()
        for name, _, digest in said
        if not here.get(name.strip(), "-").startswith(digest.strip())
    ]


def warn_of_others(embeddings: Mapping[str, Embedding], items: Mapping[str, str]) -> None:
    """Warn of embeddings that are not those of a recipe's items."""
    if embeddings and (names := lost(embeddings, items)):
        warnings.warn(
            f"The embeddings are not those of the recipe: {', '.join(names)}. So the picture will "
            "differ.",
            stacklevel=3,
        )


def _plain(name: str) -> str:
    return name.replace(":", "").replace(",", "").strip()
