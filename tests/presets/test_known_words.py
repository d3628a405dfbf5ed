"""The lists of words in the package are true: they are what the shipped weights have learnt."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from recipes.mini.export import PLAIN
from sfumato.checkpoints import open_model
from sfumato.picture import flags_of
from sfumato.presets import PRESETS
from sfumato.request import Request
from sfumato.text.tokenizer import Tokenizer

DOCS = Path(__file__).parents[2] / "docs"
BUNDLED = ["mini", "mini-turbo"]


def test_the_words_are_those_with_an_embedding():
    """No more and no fewer: exactly the tokens of these words have rows that are not zeros."""
    table = open_model("mini").checkpoint.parts["text_encoder"]
    (key,) = (key for key in table if key.endswith("token_embedding.weight"))
    (used,) = np.nonzero(np.abs(np.asarray(table[key], "float32")).sum(axis=-1))
    tokenizer, words = Tokenizer(), PRESETS["mini"].known_words
    tokens = {word: {*tokenizer.encode(word)} for word in (*words, ",")}
    assert {*used} <= set().union(*tokens.values())
    assert [word for word in tokens if not tokens[word] <= {*used} and word not in PLAIN] == []


def test_words_that_say_nothing_may_stand_anywhere():
    assert {*PLAIN, "a", "of", "on"} <= PRESETS["mini"].known_words


@pytest.mark.parametrize("name", PRESETS)
def test_only_bundled_models_list_their_words(name):
    preset = PRESETS[name]
    assert (preset.known_words is not None) == bool(preset.page) == (name in BUNDLED)


def test_the_distilled_model_knows_the_same():
    assert PRESETS["mini-turbo"].known_words == PRESETS["mini"].known_words


def test_the_page_lists_what_is_known():
    page = (DOCS.parent / PRESETS["mini"].page).read_text("utf-8")
    (listed,) = re.findall(r"\d+ things: (.*?)\.\n\n", page, re.S)
    things = re.sub(r"\s+", " ", listed).split(", ")
    assert len(things) == int(re.findall(r"(\d+) things:", page)[0])
    known = PRESETS["mini"].known_words
    assert {word for thing in things for word in thing.split()} <= known
    # What is known is on the page, but for plurals.
    on_page = set(re.findall(r"[\w-]+", page.lower()))
    singular = {w for w in known if not w.endswith("s")} - {*PLAIN}
    assert singular <= on_page


def flags(prompt: str, name: str = "mini", **fields) -> tuple[str, ...]:
    return flags_of(Request(prompt=prompt, guidance=2.0, steps=4, **fields), PRESETS[name])


def test_flags_name_the_words_and_the_page():
    assert flags("two red apples in the sky, a zebra", "mini-turbo") == (
        "mini-turbo has not learnt: sky, zebra (docs/mini.md lists what it draws)",
    )
    assert flags("a cartoon of (three:1.2) lemons on a blue background BREAK a cat AND a dog") == ()
    assert flags("a zebra", "sd1.5") == ()


def test_flags_of_words_that_change_and_of_what_is_kept_out():
    assert "zebra, hippo" in flags("a [zebra:hippo:0.5]")[0]
    assert "blurry" in flags("a cat", negative_prompt="blurry")[0]
    assert flags("a (cat:1.25)") == ()
    assert "1, 25" in flags("a (cat:1.25)", prompt_syntax="plain")[0]
    unguided = Request(prompt="a cat", negative_prompt="blurry", guidance=1.0, steps=4)
    assert flags_of(unguided, PRESETS["mini"]) == ()  # it is not read
