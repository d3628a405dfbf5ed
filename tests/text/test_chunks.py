"""Prompts of any length in chunks, by the statement of A1111's algorithm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from prompts_of_any_kind import texts

from sfumato.text import Tokenizer
from sfumato.text.chunks import Chunk, chunked, cut
from sfumato.text.emphasis import escape, parse

ENDS, ZEROS = Tokenizer(), Tokenizer(0)  # as 1.x pads, and as 2.x does
A, CAT, COMMA, START, END = 320, 2368, 267, 49406, 49407


def chunks(text: str, tokenizer: Tokenizer = ENDS, length: int = 77) -> list[Chunk]:
    return chunked(parse(text), tokenizer, length)


def words(chunk: Chunk) -> list[int]:
    return chunk.tokens[1 : chunk.size + 1].tolist()


def test_weights_stand_at_their_tokens() -> None:
    (chunk,) = chunks("a (cat:1.5), [a]")
    assert chunk.tokens[:7].tolist() == [START, A, CAT, COMMA, A, END, END]
    assert chunk.weights[:6] == pytest.approx([1, 1, 1.5, 1, 1 / 1.1, 1])
    assert (chunk.tokens[6:] == END).all()
    assert (chunk.weights[6:] == 1).all()
    assert not chunk.is_plain


def test_padding_is_the_tokenizers() -> None:
    (chunk,) = chunks("a cat", ZEROS)
    assert chunk.tokens.tolist() == [START, A, CAT, END] + [0] * 73


@pytest.mark.parametrize("tokenizer", [ENDS, ZEROS])
@pytest.mark.parametrize("count", [0, 1, 74, 75])
def test_one_chunk_is_what_the_tokenizer_gives(tokenizer: Tokenizer, count: int) -> None:
    text = "a " * count
    (chunk,) = chunks(text, tokenizer)
    (row,) = tokenizer(text)
    np.testing.assert_array_equal(chunk.tokens, row)
    assert chunk.is_plain
    assert chunk.size == count


def test_a_full_chunk_goes_on() -> None:
    first, second = chunks("a " * 75 + "cat")
    assert words(first) == [A] * 75
    assert words(second) == [CAT]
    assert first.tokens[[0, 76]].tolist() == [START, END]


@pytest.mark.parametrize(("after", "moved"), [(0, 0), (5, 5), (19, 19), (20, 0)])
def test_the_last_comma_is_where_a_chunk_ends(after: int, moved: int) -> None:
    # So many tokens behind the comma fill the chunk; up to 20 from the comma on move.
    first, second = chunks("a " * (74 - after) + "," + "(a:2) " * after + "cat")
    assert len(words(first)) == 75 - moved
    assert words(second) == [A] * moved + [CAT]
    assert second.weights[1 : moved + 1].tolist() == [2.0] * moved


def test_a_comma_that_comes_after_a_full_chunk_moves_nothing() -> None:
    first, second = chunks("a " * 70 + ", a a a a, cat")
    assert words(first) == [A] * 70 + [COMMA] + [A] * 4
    assert words(second) == [COMMA, CAT]


def test_each_break_begins_a_chunk() -> None:
    assert [words(chunk) for chunk in chunks("a BREAK cat")] == [[A], [CAT]]
    assert [words(chunk) for chunk in chunks("a BREAK")] == [[A]]
    assert [words(chunk) for chunk in chunks("BREAK BREAK a")] == [[], [], [A]]
    assert [words(chunk) for chunk in chunks("")] == [[]]


def test_shorter_text_encoders() -> None:
    assert [words(chunk) for chunk in chunks("a a a a cat", length=5)] == [[A] * 3, [A, CAT]]


def test_plain_text_is_cut_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="cut off: '\\( cat \\)'"):
        chunk = cut("a " * 75 + "(cat)", ENDS)
    assert words(chunk) == [A] * 75
    assert chunk.is_plain


@given(texts)
@settings(max_examples=50)
def test_no_token_is_lost(text: str) -> None:
    found = chunks(text)
    pieces = [piece for section in parse(text) for piece in section]
    tokens = [token for piece in pieces for token in ENDS.encode(piece.text)[1:-1]]
    assert [token for chunk in found for token in words(chunk)] == tokens
    assert all(chunk.tokens.shape == chunk.weights.shape == (77,) for chunk in found)
    assert chunks(escape("a (b)"))[0].is_plain
