"""The weights of other programs' prompts, as A1111's grammar says them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.pictures.others.grammars import from_comfyui, from_invokeai, from_novelai, joins
from sfumato.text.dynamic import draw
from sfumato.text.emphasis import Piece, parse
from sfumato.text.schedules import joined, scheduled

GRAMMARS = [from_comfyui, from_invokeai, from_novelai]


def pieces(text: str) -> list[tuple[str, float]]:
    """What our parsers make of a prompt in which nothing else than weights is meant."""
    assert draw(text, seed=0) == text
    ((words, weight),) = joined(text)
    assert weight == 1
    ((_, words),) = scheduled(words, 20)
    (section,) = parse(words)
    return [(piece.text, round(piece.weight, 4)) for piece in section]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a cat", [("a cat", 1)]),
        ("a (red) cat", [("a ", 1), ("red", 1.1), (" cat", 1)]),
        ("((red))", [("red", 1.21)]),
        ("((red:1.3))", [("red", 1.3)]),  # a stated weight stands, whatever is around it
        ("((red:1.3) cat:0.5)", [("red", 1.3), (" cat", 0.5)]),
        ("(red:x)", [("red:x", 1.1)]),
        ("(:1.2)", [(":1.2", 1.1)]),
        (r"\(red\)", [("(red)", 1)]),
        ("[red] {a|b}", [("[red] {a|b}", 1)]),
        ("(red", [("(red", 1)]),
        ("cats AND dogs BREAK", [("cats AND dogs BREAK", 1)]),
    ],
)
def test_comfyui(text, said):
    assert pieces(from_comfyui(text)) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{red} [cat]", [("red", 1.05), (" ", 1), ("cat", 0.9524)]),
        ("{{red, {cat}}}", [("red, ", 1.1025), ("cat", 1.1576)]),
        ("{red", [("red", 1.05)]),
        ("1.5::red cat::, dog", [("red cat", 1.5), (", dog", 1)]),
        ("a, 0.5::{red}::", [("a, ", 1), ("red", 0.525)]),
        ("-1::hat::", [("hat", -1)]),
        ("(red:1.5) \\o/", [("(red:1.5) \\o/", 1)]),
    ],
)
def test_novelai(text, said):
    assert pieces(from_novelai(text)) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a red++ cat", [("a ", 1), ("red", 1.21), (" cat", 1)]),
        ("red-, cat", [("red", 0.9), (", cat", 1)]),
        ("(a cat)1.3, (a dog)--", [("a cat", 1.3), (", ", 1), ("a dog", 0.81)]),
        ("((red)+ cat)2", [("red", 2.2), (" cat", 2)]),
        ("(plain) well-done - 1", [("plain well-done - 1", 1)]),
        (r"\(red\) [cat]", [("(red) [cat]", 1)]),
        ("((red)", [("(red", 1)]),
    ],
)
def test_invokeai(text, said):
    assert pieces(from_invokeai(text)) == said


def test_prompts_that_invokeai_joins_are_words():
    text = '("a cat", "a dog").blend(0.7, 0.3)'
    assert joins(text) == "blend"
    assert pieces(from_invokeai(text)) == [(text, 1)]
    assert joins("(a cat)+ and (a dog)") is None


@given(st.text(alphabet="ab ,.:|{}[]\\-1;"))
def test_what_is_no_mark_there_is_none_here(text):
    assert parse(from_comfyui(text)) == ((Piece(text),),)
    if not any(mark in text for mark in "{}[]:"):
        assert parse(from_novelai(text)) == ((Piece(text),),)


@settings(max_examples=200)
@given(st.text(alphabet="ab()[]{}:.12+-\\ "), st.sampled_from(GRAMMARS))
def test_any_text_can_be_read(text, grammar):
    (section,) = parse(grammar(text))
    letters = [c for piece in section for c in piece.text if c in "ab"]
    assert letters == [c for c in text if c in "ab"]  # no word is lost


@pytest.mark.parametrize("grammar", GRAMMARS)
@pytest.mark.parametrize(
    "part", ["(", ")", "()", "(a:", "{", "[a", "1::", "1", "a+", "-", ":", " "]
)
def test_in_linear_time(grammar, part):
    start = time.perf_counter()
    grammar(part * 50_000)
    assert time.perf_counter() - start < 5  # quadratic time would be minutes
