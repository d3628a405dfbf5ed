"""Words that a model has not learnt are found in any prompt, marks of grammar never."""

from __future__ import annotations

import pytest

from sfumato.text.known import unknown_words

KNOWN = frozenset(["a", "red", "t-shirt", "cat", "cats", "fire", "truck", "3d", "of", "the"])


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("a red cat", []),
        ("A Red CAT!, of the cats.", []),
        ("a zebra", ["zebra"]),
        ("Zebra, zebra; ZEBRA and a (giraffe:1.3)", ["zebra", "and", "giraffe"]),
        ("(red:1.35) [cat] ((a)) BREAK a 3d fire truck", []),
        ("a t-shirt, a fire-truck, a cat-truck", []),
        ("a shirt, a t shirt", ["shirt", "t"]),
        ("the cat's t-shirt", []),
        ("a cat’s zebra", ["zebra"]),
        ("2 cats, \\(tall\\)", ["2", "tall"]),
        ("<lora:thing:0.8> a <my-token> cat", []),
        ("żółw", ["żółw"]),
        ("... --- (:1) ,", []),
        ("", []),
    ],
)
def test_words(text, unknown):
    assert unknown_words([text], KNOWN, "original") == unknown


def test_every_text_counts_and_every_word_once():
    assert unknown_words(["a dog", "a cow, dog"], KNOWN, "original") == ["dog", "cow"]


def test_marks_are_words_where_nothing_is_weighed():
    assert unknown_words(["a (cat:1.35)"], KNOWN, "none") == ["1", "35"]
