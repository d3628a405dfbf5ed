"""What the bundled model can draw: a curated table of emoji, one row for one thing.

A row of `things.txt` is ``name = other names: code points``. Where several emoji show the same
thing (a red and a green apple), the name has several. No people: some hundred things drawn well
leave no room for them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).parent / "things.txt"

GROUPS = ("Animals & Nature", "Food & Drink", "Travel & Places", "Activities", "Objects")
DULL = ("clock-face", "o’clock", "thirty", "chart", "inbox", "outbox", "card index", "symbol")


@dataclass(frozen=True)
class Concept:
    """A thing that can be drawn: its names, its words and the emoji that show it."""

    name: str
    codes: tuple[str, ...]
    keywords: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    """Other names that mean the same drawing: "fire engine" for "fire truck"."""


def curated() -> list[Concept]:
    """The rows of the table."""
    concepts = []
    for line in TABLE.read_text("utf-8").splitlines():
        names, codes = line.split(":")
        name, _, others = names.partition("=")
        synonyms = tuple(word.strip() for word in others.split(",") if word.strip())
        concepts.append(Concept(name.strip(), tuple(codes.split()), synonyms=synonyms))
    return concepts


def everything(emoji: Path, keywords: Path) -> list[Concept]:
    """Every thing of Unicode's emoji but people, symbols and flags; the curated names first.

    ``emoji`` is unicode-emoji-json's ``data-by-emoji.json``, ``keywords`` emojilib's table.
    """
    found = {code: concept for concept in curated() for code in concept.codes}
    words = json.loads(keywords.read_text("utf-8"))
    concepts = {concept.name: concept for concept in found.values()}
    for character, row in json.loads(emoji.read_text("utf-8")).items():
        code = code_of(character)
        dull = any(word in row["name"] for word in DULL)
        if row["group"] not in GROUPS or dull or row["skin_tone_support"] or code in found:
            continue
        about = tuple(word.replace("_", " ") for word in words.get(character, [])[1:8])
        name = row["name"].lower()
        concepts.setdefault(name, Concept(name, (code,), tuple(w for w in about if w.isascii())))
    return list(concepts.values())


def code_of(character: str) -> str:
    """Code points in hexadecimal, joined by hyphens, without the variation selector."""
    return "-".join(f"{ord(c):x}" for c in character if c != "\ufe0f")
