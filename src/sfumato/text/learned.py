"""Learned words: names in a text whose vectors come from files, as one tokenizer finds them.

A name is found as A1111 finds it: where its token ids stand next to one another in the text, the
longest name first. So upper and lower case are the same, and there need be no mark around it. A
name in angle brackets is found inside any text, as an added token of transformers is, and so is
any name after ComfyUI's "embedding:".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from sfumato.text.tokenizer import Tokenizer

PLACEHOLDER = 0
"""The token at the place of a learned vector; it is not read."""
PLAIN_NAMES = re.compile(r"<[A-Za-z][\w .-]*>|embedding:[^\s()\[\]:,]+", re.IGNORECASE)
"""What can only be meant as the name of a learned word."""
COMFYUI = "embedding:"


class Unit(NamedTuple):
    """Tokens that stay together: one, or all those of a learned word."""

    tokens: tuple[int, ...]
    name: str = ""
    """Of the learned word; empty: it is none."""


class Learned:
    """The learned words that a tokenizer finds.

    Args:
        tokenizer: finds them.
        counts: the number of vectors, by name.
    """

    def __init__(self, tokenizer: Tokenizer, counts: Mapping[str, int]) -> None:
        self.tokenizer = tokenizer
        self.counts = counts
        self.by_first: dict[int, list[tuple[tuple[int, ...], str]]] = {}
        for name in counts:
            if ids := tuple(tokenizer.encode(name)[1:-1]):
                self.by_first.setdefault(ids[0], []).append((ids, name))
        for each in self.by_first.values():
            each.sort(key=lambda pair: -len(pair[0]))  # of equal ones the first stays first
        self.marks = _marks(tuple(counts))

    def units(self, text: str) -> Iterator[Unit]:
        """The tokens of a text, those of a learned word together."""
        place = 0
        for mark in self.marks.finditer(text) if self.marks else ():
            yield from self.by_ids(text[place : mark.start()])
            yield self.word(self.named(mark[0]))
            place = mark.end()
        yield from self.by_ids(text[place:])

    def by_ids(self, text: str) -> Iterator[Unit]:
        """The tokens of a text without marked names."""
        ids = tuple(self.tokenizer.encode(text)[1:-1]) if text else ()
        place = 0
        while place < len(ids):
            known = self.by_first.get(ids[place], ())
            found = next((p for p in known if ids[place : place + len(p[0])] == p[0]), None)
            yield self.word(found[1]) if found else Unit((ids[place],))
            place += len(found[0]) if found else 1

    def word(self, name: str) -> Unit:
        """The places of a learned word's vectors."""
        return Unit((PLACEHOLDER,) * self.counts[name], name)

    def named(self, mark: str) -> str:
        """The name in a mark, as the file has it."""
        mark = mark.casefold().removeprefix(COMFYUI)
        return next(name for name in self.counts if mark == name.casefold())


@lru_cache(8)
def _marks(names: tuple[str, ...]) -> re.Pattern[str] | None:
    """Finds marked names, the longest first; None: there are no names."""
    if not names:
        return None
    marks = [re.escape(name) for name in sorted(names, key=len, reverse=True)]
    inside = [mark for mark in marks if re.fullmatch("<.*>", mark, re.DOTALL)]
    behind = rf"{COMFYUI}(?:{'|'.join(marks)})(?![\w-])"
    return re.compile("|".join([*inside, behind]), re.IGNORECASE)


def missing(text: str, names: Mapping[str, object], tokenizer: Tokenizer) -> list[str]:
    """The names in a text that can only be learned words and are none."""
    known = {name.casefold() for name in (*names, *tokenizer.added)}
    found = PLAIN_NAMES.findall(text)
    return [mark for mark in found if mark.casefold().removeprefix(COMFYUI) not in known]
