"""Texts that change on the way: A1111's published examples, and what holds for any text."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompts_of_any_kind import HOSTILE, texts

from sfumato.text.schedules import joined, scheduled
from sfumato.text.wording import wordings

# From the documentation of `get_learned_conditioning_prompt_schedules` in A1111's
# modules/prompt_parser.py, for ten steps
PUBLISHED = {
    "test": [(10, "test")],
    "a [b:3]": [(3, "a "), (10, "a b")],
    "a [b: 3]": [(3, "a "), (10, "a b")],
    "a [[[b]]:2]": [(2, "a "), (10, "a [[b]]")],
    "[(a:2):3]": [(3, ""), (10, "(a:2)")],
    "a [b : c : 1] d": [(1, "a b  d"), (10, "a  c  d")],
    "a[b:[c:d:2]:1]e": [(1, "abe"), (2, "ace"), (10, "ade")],
    "a [unbalanced": [(10, "a [unbalanced")],
    "a [b:.5] c": [(5, "a  c"), (10, "a b c")],
    "a [{b|d{:.5] c": [(5, "a  c"), (10, "a {b|d{ c")],
    "((a][:b:c [d:3]": [(3, "((a][:b:c "), (10, "((a][:b:c d")],
    "[a|(b:1.1)]": [(i, "(b:1.1)" if i % 2 == 0 else "a") for i in range(1, 11)],
    "[fe|]male": [(i, "male" if i % 2 == 0 else "female") for i in range(1, 11)],
    "[fe|||]male": [(i, "female" if i % 4 == 1 else "male") for i in range(1, 11)],
}


@pytest.mark.parametrize("text", PUBLISHED)
def test_published_examples(text: str) -> None:
    assert scheduled(text, 10) == PUBLISHED[text]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a::3]b", [(3, "ab"), (10, "b")]),
        ("[a:b:0]", [(10, "b")]),
        ("[a:b:1.0]", [(10, "a")]),  # a point: a part of all steps
        ("[a:b:99]", [(10, "a")]),
        ("[a:b:-1]", [(10, "b")]),
        ("[a:b:1e999]", [(10, "a")]),
        ("[a:b:c:3]", [(10, "[a:b:c:3]")]),  # three colons mean nothing
        ("[a:b]", [(10, "[a:b]")]),
        ("[a:b|c]", [(10, "[a:b|c]")]),
        (r"[a\:b:3]", [(3, ""), (10, r"a\:b")]),
        (r"\[a:b:3]", [(10, r"\[a:b:3]")]),
        ("[a (b:c:3]", [(10, "[a (b:c:3]")]),  # a bracket without its partner
        ("[a) b:c:3]", [(10, "[a) b:c:3]")]),
        ("[(a|b)|c]", [(i, "c" if i % 2 == 0 else "(a|b)") for i in range(1, 11)]),
    ],
)
def test_the_grammar(text: str, found: list[tuple[int, str]]) -> None:
    assert scheduled(text, 10) == found


def test_joined_by_and() -> None:
    assert joined("a cat") == [("a cat", 1.0)]
    assert joined("a cat :1.2 AND a dog AND a penguin :-2.2") == [
        *(("a cat", 1.2), ("a dog", 1.0), ("a penguin", -2.2)),
    ]
    assert joined("16:9") == [("16:9", 1.0)]  # one prompt has no weight to have
    assert joined("SAND AND a\\ND") == [("SAND", 1.0), ("a\\ND", 1.0)]
    assert joined("a AND b:x") == [("a", 1.0), ("b:x", 1.0)]


def test_wordings() -> None:
    found = wordings("a [b:c:1] AND d:2", "[e|f]", 3)
    assert [words.read(guided=True) for words in found] == [
        *(("a b", "d", "e"), ("a c", "d", "f"), ("a c", "d", "e")),
    ]
    assert found[0].read(guided=False) == ("a b", "d")
    assert [weight for _, weight in found[0].prompts] == [1.0, 2.0]
    assert wordings("[a|b] AND c", "", 2, "plain") == [((("[a|b] AND c", 1.0),), "")] * 2


@given(texts, st.integers(1, 12))
def test_any_text(text: str, steps: int) -> None:
    found = scheduled(text, steps)
    ends = [last for last, _ in found]
    assert ends == sorted({*ends})
    assert ends[0] >= 1
    assert ends[-1] == steps
    if "[" not in text or not {":", "|"} & {*text}:
        assert found == [(steps, text)]
    assert len(joined(text)) == 1 + len([*re.finditer(r"\bAND\b", text)])


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_in_linear_time(kind: str) -> None:
    start = time.process_time()
    found = scheduled(HOSTILE[kind], 4)
    assert time.process_time() - start < 5
    assert found[-1][0] == 4
