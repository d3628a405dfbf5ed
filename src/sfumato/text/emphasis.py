"""The grammar of weights: "a (red:1.3) apple" to pieces of text with weights, and back.

It is A1111's: `(x)` is 1.1 times as strong, `[x]` as much weaker, `(x:1.3)` 1.3 times as strong.
Brackets may be nested, which multiplies, and a bracket without its partner goes on to the end. A
backslash makes a bracket an ordinary character. The word BREAK divides the text into sections.

Any text can be read, in time proportional to its length.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

LIMIT = 1000.0
"""The largest weight, so that thousands of brackets make no infinite number."""

BREAK = re.compile(r"\bBREAK\b")
_FACTORS = {"(": 1.1, "[": 1 / 1.1}
_OPENS = {")": "(", "]": "["}
# Nothing is tried twice (`*+`, `++`), so reading takes linear time.
_NUMBER = r"[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)"
_TOKEN = re.compile(rf"\\[()\[\]\\]?|[(\[\])]|:\s*+({_NUMBER})\s*+\)|[^\\()\[\]:]++|:")


class Piece(NamedTuple):
    """A stretch of text of one weight."""

    text: str
    weight: float = 1.0


Section = tuple[Piece, ...]
"""The text between two BREAKs. It has at least one piece, and neighbours differ in weight."""


def parse(text: str) -> tuple[Section, ...]:
    """Read a text of any kind: its sections.

    Example:
        >>> parse("a (red:1.3) apple")
        ((Piece(text='a ', weight=1.0), Piece(text='red', weight=1.3), Piece(text=' apple', \
weight=1.0)),)
    """
    kinds, texts, factors = _marks(text)
    sections: list[list[tuple[list[str], float]]] = [[]]
    weights = {"(": [1.0], "[": [1.0]}  # inside of the brackets that are open
    for i, (kind, words) in enumerate(zip(kinds, texts, strict=True)):
        if kind in _FACTORS:
            weights[kind].append(_limited(weights[kind][-1] * factors[i]))
        elif kind in _OPENS:
            weights[_OPENS[kind]].pop()
        elif kind == "BREAK":
            sections.append([])
        elif words:
            weight = _limited(weights["("][-1] * weights["["][-1])
            if not sections[-1] or sections[-1][-1][1] != weight:
                sections[-1].append(([], weight))
            sections[-1][-1][0].append(words)

    pieces = [[Piece("".join(words), weight) for words, weight in found] for found in sections]
    last = len(pieces) - 1
    return tuple(_trimmed(found, i > 0, i < last) for i, found in enumerate(pieces))


def render(sections: tuple[Section, ...]) -> str:
    """Write sections as a text; `parse` reads them back exactly."""
    return " BREAK ".join("".join(map(_written, section)) for section in sections)


def sections_of(text: str, emphasis: str) -> tuple[Section, ...]:
    """The sections of a text for a way of weighting; see `weighting`."""
    if emphasis == "none":
        return ((Piece(text),),)
    sections = parse(text)
    if emphasis == "ignore":
        return tuple(tuple(Piece(piece.text) for piece in section) for section in sections)
    return sections


def escape(text: str) -> str:
    """A text that `parse` reads as this one, without weights and sections."""
    text = re.sub(r"[\\()\[\]]", r"\\\g<0>", text)
    return BREAK.sub(r"B\\REAK", text)  # a backslash before a letter says nothing


def number(text: str) -> float | None:
    """The weight that a text states; None if it states none."""
    text = text.strip()
    return _limited(float(text)) if re.fullmatch(_NUMBER, text) else None


def _marks(text: str) -> tuple[list[str], list[str], dict[int, float]]:
    """The marks of a text, and the factor of each that opens a bracket, by its place.

    A mark is a bracket that changes the weight, a BREAK, or "" with some text. Their kinds and
    texts are lists of their own: Python looks through millions of tuples for circles.
    """
    kinds: list[str] = []
    texts: list[str] = []
    factors: dict[int, float] = {}
    waiting: dict[str, list[int]] = {"(": [], "[": []}

    def mark(kind: str, words: str = "") -> None:
        kinds.append(kind)
        texts.append(words)

    for match in _TOKEN.finditer(text):
        token, weight = match[0], match[1]
        kind = ")" if weight else token
        if token in _FACTORS:
            waiting[token].append(len(kinds))
            factors[len(kinds)] = _FACTORS[token]
            mark(token)
        elif kind in _OPENS and waiting[_OPENS[kind]]:
            place = waiting[_OPENS[kind]].pop()
            factors[place] = _limited(float(weight)) if weight else factors[place]
            mark(kind)
        elif token[0] == "\\":
            mark("", token[1:])
        else:
            first, *others = BREAK.split(token)
            mark("", first)
            for other in others:
                mark("BREAK")
                mark("", other)
    return kinds, texts, factors


def _limited(weight: float) -> float:
    return min(max(weight, -LIMIT), LIMIT)


def _trimmed(pieces: list[Piece], left: bool, right: bool) -> Section:
    """The pieces without the spaces at a BREAK; an empty section is one empty piece."""
    start, stop = 0, len(pieces)
    while left and start < stop and not pieces[start].text.strip():
        start += 1
    while right and start < stop and not pieces[stop - 1].text.strip():
        stop -= 1
    pieces = pieces[start:stop]
    if pieces and left:
        pieces[0] = pieces[0]._replace(text=pieces[0].text.lstrip())
    if pieces and right:
        pieces[-1] = pieces[-1]._replace(text=pieces[-1].text.rstrip())
    return tuple(pieces) or (Piece(""),)


def _written(piece: Piece) -> str:
    text = escape(piece.text)
    # Never with an exponent, which the grammar does not know
    return text if piece.weight == 1 else f"({text}:{Decimal(repr(piece.weight)):f})"
