"""CLIP's byte-pair vocabulary: the pieces of text, and the order in which they merge.

Every byte is written as one printable character (a space as "Ġ", for example). So any text can be
spelled, and there is no unknown token. A piece that ends a word carries the suffix "</w>". Ids are
the positions in this order: 256 bytes, the 256 bytes that end a word, one entry for each merge,
the two markers.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path

from tokenizers import models

START_OF_TEXT = "<|startoftext|>"
END_OF_TEXT = "<|endoftext|>"
WORD_END = "</w>"

MAX_BYTES = 2**24
"""Longest file of a vocabulary that is read. CLIP's `tokenizer.json` has 4 MB."""

_FILE = "bpe_simple_vocab_16e6.txt.gz"
SIZE = 49408
"""Pieces of the vocabulary of every CLIP text encoder in Stable Diffusion."""
_MERGES = 49152 - 256 - 2  # the file lists 262,144 merges; CLIP was trained with the first 48,894
_READ = 600_000  # bytes, enough to hold them: the rest of the file is never decompressed


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Text pieces and their merges.

    Attributes:
        ids: every piece -> its id.
        bpe: the byte-pair model of the `tokenizers` library over them, shared by all tokenizers.
    """

    ids: dict[str, int]
    bpe: models.BPE

    @cached_property
    def pieces(self) -> list[str]:
        """Every piece, at its id."""
        return sorted(self.ids, key=self.ids.__getitem__)


@cache
def byte_characters() -> tuple[str, ...]:
    """The 256 printable characters that stand for the bytes, in the order of their ids.

    Bytes that are printable in Latin-1 stand for themselves and come first; the others follow as
    U+0100, U+0101, ...
    """
    printable = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
    return tuple(map(chr, (*printable, *range(0x100, 0x200 - len(printable)))))


@cache
def character_bytes() -> dict[str, int]:
    """The inverse of `byte_characters`: character -> byte."""
    characters = byte_characters()
    printable = [character for character in characters if ord(character) < 0x100]
    others = sorted(set(range(0x100)) - set(map(ord, printable)))
    return dict(zip(characters, [*map(ord, printable), *others], strict=True))


@cache
def packaged() -> Vocabulary:
    """The vocabulary of every CLIP text encoder in Stable Diffusion, read once per process.

    It has 49,408 pieces.
    """
    with gzip.open(Path(__file__).with_name(_FILE)) as file:
        lines = file.read(_READ).decode().split("\n")
    merges = [_pair(line) for line in lines[1 : _MERGES + 1]]  # the first line is a comment

    characters = byte_characters()
    pieces = [
        *characters,
        *(character + WORD_END for character in characters),
        *map("".join, merges),
        START_OF_TEXT,
        END_OF_TEXT,
    ]
    return _vocabulary({piece: index for index, piece in enumerate(pieces)}, merges)


def from_folder(folder: Path) -> Vocabulary:
    """The vocabulary in the folder of a diffusers model; the packaged one where it has none.

    It is in `vocab.json` and `merges.txt`, or in `tokenizer.json`, which later versions of
    transformers write alone.

    Raises:
        ValueError: the files do not hold a CLIP vocabulary.
    """
    own, merges, whole = (folder / n for n in ("vocab.json", "merges.txt", "tokenizer.json"))
    files = (own, merges) if own.exists() else (whole,) if whole.exists() else ()
    if not files:
        return packaged()
    try:
        return _parsed(*map(_read, files))
    except Exception as error:  # a plain Exception is what the library raises for a bad merge
        names = " and ".join(f"`{file.name}`" for file in files)
        raise ValueError(
            f"{names} must hold a CLIP vocabulary. Received: {folder} ({error})"
        ) from error


def _read(file: Path) -> str:
    if file.stat().st_size > MAX_BYTES:
        raise ValueError(f"`{file.name}` has more than {MAX_BYTES} bytes")
    return file.read_text("utf-8")


@lru_cache(2)  # both tokenizers of XL have the same
def _parsed(vocabulary: str, merges: str | None = None) -> Vocabulary:
    """The vocabulary in the text of `vocab.json` and `merges.txt`, or of `tokenizer.json`."""
    ids = json.loads(vocabulary)
    lines = [] if merges is None else merges.split("\n")
    if merges is None:
        model = ids["model"]
        if model.get("end_of_word_suffix") != WORD_END:
            raise ValueError(f"its words do not end in {WORD_END}, as CLIP's do")
        ids, lines = model["vocab"], model["merges"]
    texts = [line if isinstance(line, str) else " ".join(line) for line in lines]
    pairs = [_pair(text) for text in texts if text.strip() and not text.startswith("#version")]
    if sorted(ids.values()) != list(range(len(ids))):
        raise ValueError("its ids do not count from 0")
    if not {START_OF_TEXT, END_OF_TEXT} <= set(ids):
        raise ValueError(f"it has no {START_OF_TEXT} and {END_OF_TEXT}")
    return _vocabulary(ids, pairs)


def _pair(line: str) -> tuple[str, str]:
    left, right = line.split()
    return left, right


def _vocabulary(ids: dict[str, int], merges: list[tuple[str, str]]) -> Vocabulary:
    # `unk_token` stands for bytes without a piece: only a vocabulary cut down by hand has any.
    bpe = models.BPE(
        vocab=ids,
        merges=merges,
        continuing_subword_prefix="",
        end_of_word_suffix=WORD_END,
        unk_token=END_OF_TEXT,
    )
    return Vocabulary(ids, bpe)
