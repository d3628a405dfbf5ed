"""What the bundled model can draw: a curated table of emoji, one row for one thing.

A row of `things.txt` is ``name = other names: code points``. Where several emoji show the same
thing (a red and a green apple), the name has several. No people: some hundred things drawn well
leave no room for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).parent / "things.txt"


@dataclass(frozen=True)
class Concept:
    """A thing that can be drawn: its name, the emoji that show it, and its other names.

    Other names mean the same drawing: "fire engine" for "fire truck".
    """

    name: str
    codes: tuple[str, ...]
    synonyms: tuple[str, ...] = ()


def curated() -> list[Concept]:
    """The rows of the table."""
    concepts = []
    for line in TABLE.read_text("utf-8").splitlines():
        names, codes = line.split(":")
        name, _, others = names.partition("=")
        synonyms = tuple(word.strip() for word in others.split(",") if word.strip())
        concepts.append(Concept(name.strip(), tuple(codes.split()), synonyms))
    return concepts


def code_of(character: str) -> str:
    """Code points in hexadecimal, joined by hyphens, without the variation selector."""
    return "-".join(f"{ord(c):x}" for c in character if c != "\ufe0f")
