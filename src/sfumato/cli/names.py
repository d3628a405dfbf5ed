"""Names for new pictures: `00001-42-a-red-apple.png`, and never the name of an existing file."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
OTHER_PICTURES = (".gif", ".bmp", ".tif", ".tiff", ".avif", ".jxl", ".heic")
ANIMATIONS = (".gif", ".webp")
# File systems allow 255 bytes to a name; a letter may take four of them.
SLUG_BYTES = 96


def slug(prompt: str) -> str:
    """The prompt as part of a file name: letters and digits of any script, joined by `-`."""
    import unicodedata

    text = unicodedata.normalize("NFKC", prompt).casefold()
    letters = ""
    for letter in text:
        # A mark, such as the vowel signs of India, belongs to the letter before it.
        is_mark = unicodedata.category(letter).startswith("M") and letters[-1:].strip()
        letters += letter if letter.isalnum() or is_mark else " "
    words = letters.split()
    name = "-".join(words).encode()[:SLUG_BYTES].decode(errors="ignore")
    if len(name.encode()) < len("-".join(words).encode()) and "-" in name:
        name = name.rpartition("-")[0]  # no half word at the end
    return name or "picture"


def is_folder(out: Path) -> bool:
    """Whether a path names a folder rather than a picture or an animation."""
    return out.suffix.lower() not in (*PICTURES, *ANIMATIONS) or out.is_dir()


def check_writable(out: Path | None) -> None:
    """Raise an OSError if nothing can be written to a folder or file; makes nothing there."""
    import tempfile

    if out is None:
        return
    folder = out if is_folder(out) else out.parent
    try:
        folder = next(place for place in (folder, *folder.parents) if place.exists())
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, StopIteration) as error:
        raise OSError(f"a picture cannot be written there: {out}") from error


@contextmanager
def claim(out: Path, seed: int | str, prompt: str) -> Iterator[Path]:
    """A path for one picture that no other process can have: an empty file keeps the name.

    In the folder `out` it is the next number, the seed and the prompt. If `out` names a picture it
    is that of `claim_file`. Nothing is left on an error.
    """
    candidates = _numbered(out)
    if is_folder(out):
        out.mkdir(parents=True, exist_ok=True)
        taken = [int(m[1]) for m in (re.match(r"(\d{5,})-", p.name) for p in out.iterdir()) if m]
        numbers = itertools.count(max(taken, default=0) + 1)
        candidates = (out / f"{number:05d}-{seed}-{slug(prompt)}.png" for number in numbers)
    with _first_free(candidates) as path:
        yield path


@contextmanager
def claim_file(file: Path) -> Iterator[Path]:
    """`file` for this process alone, or `file` with the next free number if that exists."""
    with _first_free(_numbered(file)) as path:
        yield path


def _numbered(file: Path) -> Iterator[Path]:
    file.parent.mkdir(parents=True, exist_ok=True)
    yield file
    yield from (file.with_stem(f"{file.stem}-{number}") for number in itertools.count(2))


@contextmanager
def _first_free(candidates: Iterator[Path]) -> Iterator[Path]:
    for path in candidates:
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        try:
            yield path
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return
