"""The grammar of weights: A1111's published examples, and what holds for any text."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from prompts_of_any_kind import HOSTILE, texts

from sfumato.text.emphasis import LIMIT, Piece, escape, number, parse, render

# From the documentation of `parse_prompt_attention` in A1111's modules/prompt_parser.py
PUBLISHED = {
    "normal text": [("normal text", 1.0)],
    "an (important) word": [("an ", 1.0), ("important", 1.1), (" word", 1.0)],
    "(unbalanced": [("unbalanced", 1.1)],
    r"\(literal\]": [("(literal]", 1.0)],
    "(unnecessary)(parens)": [("unnecessaryparens", 1.1)],
    "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).": [
        *(("a ", 1.0), ("house", 1.5730000000000004), (" ", 1.1), ("on", 1.0)),
        *((" a ", 1.1), ("hill", 0.55), (", sun, ", 1.1), ("sky", 1.4641000000000006), (".", 1.1)),
    ],
}


@pytest.mark.parametrize("text", PUBLISHED)
def test_published_examples(text: str) -> None:
    (section,) = parse(text)
    assert [piece.text for piece in section] == [words for words, _ in PUBLISHED[text]]
    assert [p.weight for p in section] == pytest.approx([w for _, w in PUBLISHED[text]], rel=1e-15)


@pytest.mark.parametrize(
    ("text", "section"),
    [
        ("", [("", 1.0)]),
        ("[[a]]", [("a", 1 / 1.1 / 1.1)]),
        ("(a:-0.5)", [("a", -0.5)]),
        ("(a: +2. )b", [("a", 2.0), ("b", 1.0)]),
        ("(a:.5)", [("a", 0.5)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),  # no number: a colon and words
        ("a:1.3) b", [("a:1.3) b", 1.0)]),  # closes nothing
        ("[a:1.3]", [("a:1.3", 1 / 1.1)]),
        (r"a \\(b)", [("a \\", 1.0), ("b", 1.1)]),
        (r"\a \{b\}", [("a {b}", 1.0)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1.0), (" c", 1 / 1.1)]),  # kinds do not see one another
        ("()a", [("a", 1.0)]),
    ],
)
def test_the_grammar(text: str, section: list[tuple[str, float]]) -> None:
    (found,) = parse(text)
    assert found == tuple(Piece(words, pytest.approx(weight)) for words, weight in section)


def test_break_divides() -> None:
    assert parse("a BREAK b") == ((Piece("a"),), (Piece("b"),))
    assert parse("a BREAK") == ((Piece("a"),), (Piece(""),))
    assert parse("(a BREAK b:2) BREAK c") == ((Piece("a", 2),), (Piece("b", 2),), (Piece("c"),))
    assert parse("BREAKFAST, a break, outBREAK") == ((Piece("BREAKFAST, a break, outBREAK"),),)


def test_number() -> None:
    assert number(" -1.5 ") == -1.5
    assert number("1e3") is number("x") is number("") is None


@given(texts)
@example("(BRE)(AK)")
@example("a (BREAK) b")
@example("a\\")
def test_round_trip(text: str) -> None:
    sections = parse(text)
    assert parse(render(sections)) == sections
    assert all(section for section in sections)
    for section in sections:
        weights = [piece.weight for piece in section]
        assert all(a != b for a, b in pairwise(weights))
        assert all(abs(weight) <= LIMIT for weight in weights)


@given(texts)
def test_escaped_text_is_text(text: str) -> None:
    assert parse(escape(text)) == ((Piece(text),),)


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_in_linear_time(kind: str) -> None:
    start = time.process_time()
    sections = parse(HOSTILE[kind])
    assert time.process_time() - start < 5  # about 0.1 s; quadratic would be minutes
    assert parse(render(sections)) == sections


def test_ten_megabytes() -> None:
    text = ("a house by the sea, " * 50 + "(red:1.3) ") * 10_000
    (section,) = parse(text)
    assert len(section) == 20_001
