"""Names for new pictures: `00001-42-a-red-apple.png`, and never the name of an existing file."""

from __future__ import annotations

import itertools
import re
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
    words = re.findall(r"\w+", text.replace("_", " "))
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


@contextmanager
def claim(out: Path, seed: int, prompt: str) -> Iterator[Path]:
    """A path for one picture that no other process can have; nothing is left there on an error.

    In the folder `out` it is the next number, the seed and the prompt. If `out` names a picture it
    is `out`, or `out` with the next free number if that exists.
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
