"""Names for new pictures: `00001-42-a-red-apple.png`, and never the name of an existing file."""

from __future__ import annotations

import itertools
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
OTHER_PICTURES = (".gif", ".bmp", ".tif", ".tiff", ".avif", ".jxl", ".heic")
# File systems allow 255 bytes to a name; a letter may take four of them.
SLUG_BYTES = 96


def slug(prompt: str) -> str:
    """The prompt as part of a file name: letters and digits of any script, joined by `-`."""
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


def is_file_name(out: Path) -> bool:
    """Whether `--out` names a picture rather than a folder."""
    return out.suffix.lower() in PICTURES and not out.is_dir()


def _candidates(out: Path, seed: int, prompt: str) -> Iterator[Path]:
    if is_file_name(out):
        yield out
        yield from (out.with_stem(f"{out.stem}-{number}") for number in itertools.count(2))
    taken = [int(m[1]) for m in (re.match(r"(\d{5,})-", p.name) for p in out.iterdir()) if m]
    for number in itertools.count(max(taken, default=0) + 1):
        yield out / f"{number:05d}-{seed}-{slug(prompt)}.png"


def check_writable(out: Path) -> None:
    """Raise an OSError if no picture can be written to `out`; makes nothing there."""
    folder = out.parent if is_file_name(out) else out
    try:
        folder = next(place for place in (folder, *folder.parents) if place.exists())
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, StopIteration) as error:
        raise OSError(f"--out must be where pictures can be written. Received: {out}") from error


@contextmanager
def claim(out: Path, seed: int, prompt: str) -> Iterator[Path]:
    """A path for one picture that no other process can have: an empty file keeps the name.

    In the folder `out` it is the next number, the seed and the prompt. If `out` names a picture it
    is `out`, or `out` with the next free number if that exists. Nothing is left on an error.
    """
    (out.parent if is_file_name(out) else out).mkdir(parents=True, exist_ok=True)
    for path in _candidates(out, seed, prompt):
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
