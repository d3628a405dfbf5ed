"""Learned words in a text: where A1111 finds them, and where their vectors stand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from prompts_of_any_kind import texts

from sfumato.text import Tokenizer
from sfumato.text.chunks import Chunk, chunks_of
from sfumato.text.learned import Learned, missing

TOKENIZER = Tokenizer()
COUNTS = {"easynegative": 8, "Bad Hands": 3, "bad": 1, "<cat-toy>": 2, "v2.5": 1, "long": 90}
WORDS = Learned(TOKENIZER, COUNTS)


def chunks(text: str, syntax: str = "a1111") -> list[Chunk]:
    return chunks_of(text, TOKENIZER, 77, syntax, "original", WORDS)


def found(text: str) -> list[str]:
    return [unit.name for unit in WORDS.units(text) if unit.name]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a photo, easynegative", ["easynegative"]),
        ("EasyNegative,EASYNEGATIVE", ["easynegative", "easynegative"]),
        ("easynegatives easy negative", []),  # other tokens
        ("bad  hands and bad feet", ["Bad Hands", "bad"]),  # the longest first
        ("badly", []),
        ("a<cat-toy>,on <CAT-TOY>s", ["<cat-toy>", "<cat-toy>"]),  # as an added token
        ("embedding:bad hands", ["Bad Hands"]),
        ("embedding:badly", []),
        ("v2.5, v2.55", ["v2.5", "v2.5"]),  # A1111 looks at tokens, and each digit is one
        ("", []),
    ],
)
def test_names(text: str, names: list[str]) -> None:
    assert found(text) == names


def test_a_name_that_brackets_cut_is_none() -> None:
    (chunk,) = chunks("bad (hands:1.2), (bad hands:1.2)")
    assert [(place, name, row) for place, name, row in chunk.learned] == [
        *[(1, "bad", 0)],
        *[(4 + row, "Bad Hands", row) for row in range(3)],
    ]
    assert chunk.weights[1:7].tolist() == pytest.approx([1, 1.2, 1, 1.2, 1.2, 1.2])
    assert chunk.size == 6


def test_a_word_is_not_parted() -> None:
    first, second = chunks("a " * 70 + "easynegative")
    assert (first.size, second.size) == (70, 8)
    assert [place.row for place in second.learned] == [*range(8)]
    assert not first.learned
    (only,) = chunks("a " * 67 + "easynegative")
    assert (only.size, only.learned[0].place) == (75, 68)


def test_vectors_go_along_behind_the_last_comma() -> None:
    first, second = chunks("a " * 60 + ", easynegative a a a a a a a")
    assert (first.size, second.size) == (61, 15)
    assert [place.place for place in second.learned] == [*range(1, 9)]


def test_a_word_longer_than_a_chunk_is_cut() -> None:
    (chunk,) = chunks("long")
    assert (chunk.size, len(chunk.learned)) == (75, 75)


def test_plain_text_is_cut_and_warns() -> None:
    (chunk,) = chunks("(bad) <cat-toy>", "plain")
    assert [place.name for place in chunk.learned] == ["bad", "<cat-toy>", "<cat-toy>"]
    with pytest.warns(UserWarning, match="longer than the 75 tokens"):
        (chunk,) = chunks("a " * 70 + "easynegative", "plain")
    assert (chunk.size, chunk.learned) == (70, ())


@given(texts)
@settings(max_examples=60)
def test_without_words_nothing_changes(text: str) -> None:
    plain = chunks_of(text, TOKENIZER, 77, "a1111", "original")
    other = chunks_of(text, TOKENIZER, 77, "a1111", "original", Learned(TOKENIZER, {"zzyzx": 3}))
    for one, two in zip(plain, other, strict=True):
        assert one.tokens.tolist() == two.tokens.tolist()
        assert one.weights.tolist() == two.weights.tolist()
        assert (one.size, two.learned) == (two.size, ())


def test_what_can_only_be_a_name() -> None:
    tokenizer = Tokenizer()
    tokenizer.add_tokens("<mine>")
    text = "<lost> embedding:gone, <CAT-toy> <mine> embedding:bad a < b > c <3 <lora:x:1>"
    assert missing(text, COUNTS, tokenizer) == ["<lost>", "embedding:gone"]
