"""Prompts of any length: token ids in chunks of what a text encoder reads at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from sfumato.text.emphasis import Section, sections_of
from sfumato.text.tokenizer import Tokenizer

BACKTRACK = 20
"""A chunk that is full ends at its last comma, if that is at most so many tokens back."""


class Chunk(NamedTuple):
    """The input of a text encoder, and how strong each token is."""

    tokens: np.ndarray  # (T,) int32: a start marker, up to T - 2 tokens, an end marker, padding
    weights: np.ndarray  # (T,) float32; markers and padding have 1
    size: int  # of the text: the tokens between the markers

    @property
    def is_plain(self) -> bool:
        return bool((self.weights == 1).all())


Tokenize = Callable[[str, int], np.ndarray]
"""A function of a text and the number of tokens T, such as a `Tokenizer`: int (1, T)."""


def chunks_of(
    text: str, tokenizer: Tokenizer | Tokenize, length: int, syntax: str, emphasis: str
) -> list[Chunk]:
    """The chunks of a text in one of the grammars of `wording`.

    A tokenizer of the user's own gets the whole text: only a `Tokenizer` makes parts of it.
    """
    if syntax == "plain" or not isinstance(tokenizer, Tokenizer):
        return [cut(text, tokenizer, length)]
    return chunked(sections_of(text, emphasis), tokenizer, length)


def chunked(sections: Sequence[Section], tokenizer: Tokenizer, length: int = 77) -> list[Chunk]:
    """Divide sections into chunks of ``length`` tokens, as A1111 does.

    Each section begins a chunk. A chunk that is full goes on to the next one, from its last comma
    if there is one nearby. There is at least one chunk.
    """
    room = length - 2
    comma = tokenizer.encode(",")[1]
    found: list[list[tuple[int, float]]] = []
    for section in sections:
        found.append([])
        last_comma = room  # its place in the chunk
        for text, weight in section:
            for token in tokenizer.encode(text)[1:-1]:
                if token == comma:
                    last_comma = len(found[-1])
                if len(found[-1]) == room:
                    is_near = room - last_comma <= BACKTRACK
                    at = last_comma + 1 if is_near else room
                    found[-1:] = found[-1][:at], found[-1][at:]
                    last_comma = room
                found[-1].append((token, weight))

    if len(found) > 1 and not found[-1]:  # the text ended with BREAK
        found.pop()
    return [_padded(pairs, tokenizer, length) for pairs in found]


def cut(text: str, tokenizer: Tokenizer | Tokenize, length: int = 77) -> Chunk:
    """The one chunk of a text without any grammar; warns (UserWarning) of what does not fit."""
    (tokens,) = tokenizer(text, length)
    count = len(tokens) - 2
    if isinstance(tokenizer, Tokenizer):
        count = int((tokens == tokenizer.end_of_text).argmax()) - 1
    return Chunk(tokens, np.ones(length, "float32"), count)


def _padded(pairs: list[tuple[int, float]], tokenizer: Tokenizer, length: int) -> Chunk:
    tokens = np.full(length, tokenizer.pad_token, "int32")
    weights = np.ones(length, "float32")
    count = len(pairs)
    tokens[0], tokens[count + 1] = tokenizer.start_of_text, tokenizer.end_of_text
    tokens[1 : count + 1] = [token for token, _ in pairs]
    weights[1 : count + 1] = [weight for _, weight in pairs]
    return Chunk(tokens, weights, count)
