"""Prompts of any length: token ids in chunks of what a text encoder reads at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from sfumato.text.emphasis import Piece, Section, sections_of
from sfumato.text.learned import Learned
from sfumato.text.tokenizer import Tokenizer

BACKTRACK = 20
"""A chunk that is full ends at its last comma, if that is at most so many tokens back."""


class Place(NamedTuple):
    """A place at which a learned vector stands instead of a token's own."""

    place: int  # in the chunk
    name: str  # of the learned word
    row: int  # of its vectors


class Chunk(NamedTuple):
    """The input of a text encoder, and how strong each token is."""

    tokens: np.ndarray  # (T,) int32: a start marker, up to T - 2 tokens, an end marker, padding
    weights: np.ndarray  # (T,) float32; markers and padding have 1
    size: int  # of the text: the tokens between the markers
    learned: tuple[Place, ...] = ()

    @property
    def is_plain(self) -> bool:
        return bool((self.weights == 1).all())


Tokenize = Callable[[str, int], np.ndarray]
"""A function of a text and the number of tokens T, such as a `Tokenizer`: int (1, T)."""


def chunks_of(
    text: str,
    tokenizer: Tokenizer | Tokenize,
    length: int,
    syntax: str,
    emphasis: str,
    learned: Learned | None = None,
) -> list[Chunk]:
    """The chunks of a text in one of the grammars of `wording`, with learned words or without.

    A tokenizer of the user's own gets the whole text: only a `Tokenizer` makes parts of it.
    """
    if not isinstance(tokenizer, Tokenizer):
        return [cut(text, tokenizer, length)]
    if syntax == "plain" and learned is None:
        return [cut(text, tokenizer, length)]
    if syntax == "plain":
        found = chunked([(Piece(text),)], tokenizer, length, learned)
        return found if len(found) == 1 else [_shortened(found[0], tokenizer)]
    return chunked(sections_of(text, emphasis), tokenizer, length, learned)


def chunked(
    sections: Sequence[Section],
    tokenizer: Tokenizer,
    length: int = 77,
    learned: Learned | None = None,
) -> list[Chunk]:
    """Divide sections into chunks of ``length`` tokens, as A1111 does.

    Each section begins a chunk. A chunk that is full goes on to the next one, from its last comma
    if there is one nearby. A learned word that does not fit begins the next one. There is at least
    one chunk.
    """
    room = length - 2
    comma = tokenizer.encode(",")[1]
    words = learned or Learned(tokenizer, {})
    found: list[list[Token]] = []
    for section in sections:
        found.append([])
        last_comma = room  # its place in the chunk
        for text, weight in section:
            for tokens, name in words.units(text):
                if tokens == (comma,):
                    last_comma = len(found[-1])
                if len(found[-1]) == room:
                    is_near = room - last_comma <= BACKTRACK
                    at = last_comma + 1 if is_near else room
                    found[-1:] = found[-1][:at], found[-1][at:]
                    last_comma = room
                if found[-1] and len(found[-1]) + len(tokens) > room:
                    found.append([])
                    last_comma = room
                kept = tokens[:room]  # of a word that is longer than a chunk
                found[-1] += [Token(token, weight, name, row) for row, token in enumerate(kept)]

    if len(found) > 1 and not found[-1]:  # the text ended with BREAK
        found.pop()
    return [_padded(tokens, tokenizer, length) for tokens in found]


def _shortened(chunk: Chunk, tokenizer: Tokenizer) -> Chunk:
    """The first chunk of a text that is too long, with a warning."""
    read = tokenizer.decode(chunk.tokens[1 : chunk.size + 1])
    warnings.warn(
        f"The prompt is longer than the {len(chunk.tokens) - 2} tokens that the text encoder "
        f"reads, and was cut off behind {read[-40:]!r}",
        stacklevel=3,
    )
    return chunk


def cut(text: str, tokenizer: Tokenizer | Tokenize, length: int = 77) -> Chunk:
    """The one chunk of a text without any grammar; warns (UserWarning) of what does not fit."""
    (tokens,) = tokenizer(text, length)
    count = len(tokens) - 2
    if isinstance(tokenizer, Tokenizer):
        count = int((tokens == tokenizer.end_of_text).argmax()) - 1
    return Chunk(tokens, np.ones(length, "float32"), count)


class Token(NamedTuple):
    """A token of a chunk, its weight, and the learned vector in its place, if there is one."""

    id: int
    weight: float
    name: str
    row: int


def _padded(found: list[Token], tokenizer: Tokenizer, length: int) -> Chunk:
    tokens = np.full(length, tokenizer.pad_token, "int32")
    weights = np.ones(length, "float32")
    count = len(found)
    tokens[0], tokens[count + 1] = tokenizer.start_of_text, tokenizer.end_of_text
    tokens[1 : count + 1] = [token.id for token in found]
    weights[1 : count + 1] = [token.weight for token in found]
    places = [Place(i, t.name, t.row) for i, t in enumerate(found, 1) if t.name]
    return Chunk(tokens, weights, count, tuple(places))
