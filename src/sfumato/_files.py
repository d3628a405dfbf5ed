"""Small files: written whole or not at all, and JSON that is checked as it is read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

MAX_JSON = 2**20
"""Longest JSON file accepted, in bytes, as its objects take many times that."""


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with a user's folder for "~"; as it stands where nobody knows that folder."""
    # Path.expanduser raises for a service without HOME and for a user who is not known here.
    return Path(os.path.expanduser(path))


@contextmanager
def replacing(
    path: str | os.PathLike[str], mode: int = 0o666, durable: bool = True
) -> Iterator[BinaryIO]:
    """A file to write, which appears under its name when it is complete.

    Args:
        path: a file of that name is replaced.
        mode: the permissions of the file, less those that the user's mask takes away.
        durable: wait until the content is on the disk, so that a loss of power cannot leave an
            empty file under the name.
    """
    path = Path(path)
    partial = path.with_name(f".{os.urandom(8).hex()}.part")
    try:
        with open(partial, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_json(path: Path, most: int = MAX_JSON) -> dict[str, Any]:
    """The object in a JSON file of at most that many bytes; empty if there is no such file.

    Raises:
        ValueError: the file is too long, is not JSON, or holds something other than an object.
    """
    if not path.is_file():
        return {}
    if path.stat().st_size > most:
        raise ValueError(f"`{path.name}` must have at most {most} bytes. Received: {path}")
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"`{path.name}` must be JSON. Received: {path} ({error})") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise ValueError(f"`{path.name}` must hold a JSON object. Received: {path} with a {kind}")
    return content


def read_pad_token(folder: Path) -> Any:
    """The token that fills up a prompt as a tokenizer's folder names it; None if it does not.

    Raises:
        ValueError: a file is damaged.
    """
    settings = read_json(folder / "tokenizer_config.json")
    if "added_tokens_decoder" not in settings:  # older folders keep the last word in another file
        settings |= read_json(folder / "special_tokens_map.json")
    token = settings.get("pad_token")
    return token.get("content") if isinstance(token, dict) else token
