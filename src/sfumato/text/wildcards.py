"""Wildcards: a folder of text files, each a list to draw from."""

from __future__ import annotations

from pathlib import Path


def read_wildcards(folder: Path) -> dict[str, tuple[str, ...]]:
    """Read the lists of a folder: `colours/warm.txt` is `colours/warm`.

    A line is an entry. Empty lines, and those that begin with "#", are left out.

    Raises:
        OSError: it is no folder, or cannot be read.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"there is no such folder: {folder}")
    lists = {}
    for file in sorted(folder.rglob("*.txt")):
        lines = map(str.strip, file.read_text("utf-8-sig", "replace").splitlines())
        name = file.relative_to(folder).with_suffix("").as_posix()
        lists[name] = tuple(line for line in lines if line and not line.startswith("#"))
    return lists
