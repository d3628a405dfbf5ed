"""The recipe text: known examples, an ordinary reader as the judge, and any prompt at all."""

from __future__ import annotations

import doctest
import json
import re
import sys
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sfumato.pictures import Recipe, read_text, write_text

FULL = Recipe(
    prompt="a red apple, (sharp:1.2)\nin a bowl",
    negative_prompt="blurry,\nlow quality",
    steps=20,
    sampler="DPM++ 2M",
    schedule="Karras",
    guidance=7.0,
    seed=965400086,
    width=512,
    height=768,
    model="v1-5-pruned",
    model_hash="45dee52b",
    strength=0.7,
    version="v1.10.1",
    extra={"RNG": "NV", "Lora hashes": "a: 1234, b: 5678", "Clip skip": "2", "Own key": "grün"},
)
FULL_TEXT = """a red apple, (sharp:1.2)
in a bowl
Negative prompt: blurry,
low quality
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 965400086, Size: 512x768, \
Model hash: 45dee52b, Model: v1-5-pruned, Denoising strength: 0.7, Clip skip: 2, RNG: NV, \
Lora hashes: "a: 1234, b: 5678", Own key: grün, Version: v1.10.1"""


def ordinary_reader(text: str) -> tuple[str, str, dict[str, str]]:
    """What programs that know the format and nothing of Sfumato read."""
    *lines, last = text.strip().split("\n")
    pairs = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', last)
    if len(pairs) < 3:
        lines, pairs = [*lines, last], []
    prompt, negative, target = [], [], None
    for line in lines:
        line = line.strip()
        if line.startswith("Negative prompt:"):
            target, line = negative, line[16:].strip()
        (prompt if target is None else negative).append(line)
    unquoted = {k: json.loads(v) if v[:1] == '"' and len(v) > 1 else v for k, v in pairs}
    return "\n".join(prompt), "\n".join(negative), unquoted


def test_examples():
    assert doctest.testmod(sys.modules[Recipe.__module__]) == (0, 1)


def test_known_text():
    assert write_text(FULL) == FULL_TEXT
    assert read_text(FULL_TEXT) == FULL


def test_ordinary_programs_read_it():
    prompt, negative, items = ordinary_reader(write_text(FULL))
    assert (prompt, negative) == (FULL.prompt, FULL.negative_prompt)
    assert items["Size"] == "512x768"
    assert items["Lora hashes"] == "a: 1234, b: 5678"
    assert len(items) == 14


TILED = {"ab": "1", "Tiling": "Tiling"}  # an item that is its key alone


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        ("", Recipe("")),
        ("just a prompt", Recipe("just a prompt")),
        ("a: b, c", Recipe("a: b, c")),
        ("p\nSteps: 20, Seed: 3", Recipe("p\nSteps: 20, Seed: 3")),  # two items are no parameters
        ("Steps: 1, Seed: 2, Size: 8x16", Recipe("", steps=1, seed=2, width=8, height=16)),
        ("p\n\nq\nSteps: 1, Seed: 2, CFG scale: 3.5", Recipe("p\n\nq", "", 1, None, None, 3.5, 2)),
        (
            " p \r\nNegative prompt:n\n m\nSteps: x, Seed: 5, CFG scale: nan, Size: 3, Foo: 5x6,",
            Recipe("p", "n\nm", seed=5, extra={"Foo": "5x6"}),
        ),
        (
            'p\nab: "c, d", ef: "g" h, ij: "',
            Recipe("p", extra={"ab": "c, d", "ef": '"g" h', "ij": '"'}),
        ),
        ("p\nab: 1, Tiling, Seed: 2, Steps: 3", Recipe("p", "", 3, seed=2, extra=TILED)),
        ("p\na : 1, b : 2, c : 3, Seed: 4", Recipe("p", seed=4)),
    ],
)  # fmt: skip
def test_texts_of_other_programs(text, recipe):
    assert read_text(text) == recipe


def test_two_surrogates_are_one_character():
    assert read_text(write_text(Recipe("\ud83d\udc34"))) == Recipe("🐴")


def test_numbers_of_numpy_are_numbers():
    recipe = Recipe("p", guidance=np.float32(7.5), seed=np.uint32(3), steps=np.int64(4))
    assert write_text(recipe) == "p\nSteps: 4, CFG scale: 7.5, Seed: 3"


HOSTILE = [
    "a cat\nNegative prompt: not this",
    "Negative prompt:",
    "x\n  Negative prompt: a\nSteps: 99, Sampler: Evil, Seed: 666, Size: 8x8",
    "a\nSteps: 99, Sampler: Evil, Seed: 666",
    'Exact prompt: "evil"',
    'x\nExact prompt: "evil", Steps: 1, Seed: 2',
    '"quoted", \\ and \\" too',
    '"',
    " spaces at the ends ",
    "\n\nlines\n\n\n around \n",
    "tab\there\x00nul\x1b[31m\x85\u2028",
    "windows\r\nlines",
    "猫\n🐴 é",
    "lone \ud800 surrogate",
]


@pytest.mark.parametrize("negative", ["", "blurry", *HOSTILE])
@pytest.mark.parametrize("prompt", ["", "a cat", *HOSTILE])
def test_hostile_prompts_come_back_and_forge_nothing(prompt, negative):
    bare = Recipe(prompt, negative)
    assert read_text(write_text(bare)) == bare
    recipe = Recipe(prompt, negative, 20, "Euler a", "Karras", 7.5, 1, 64, 64, version="Sfumato")
    text = write_text(recipe)
    assert read_text(text) == recipe
    assert "\0" not in text
    text.encode()  # legal text
    shown, shown_negative, items = ordinary_reader(text)
    parameters = {k: v for k, v in items.items() if not k.startswith("Exact")}
    assert parameters == {
        "Steps": "20",
        "Sampler": "Euler a",
        "Schedule type": "Karras",
        "CFG scale": "7.5",
        "Seed": "1",
        "Size": "64x64",
        "Version": "Sfumato",
    }
    assert bool(shown_negative) == bool(negative.strip())  # none is forged, none is lost
    assert "not this" not in shown_negative or "not this" in negative
    assert bool(shown) == bool(prompt.strip())


PROMPT_PARTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(
        ["Negative prompt:", "\nNegative prompt: x", "\nSteps: 1, Seed: 2, Size: 8x8", "\n", " ",
         'Exact prompt: "', '"', "\\", ", ", ": ", "\r", "\0", "Steps: 20", "Version: 1", "\x85"]
    ),
)  # fmt: skip
PROMPTS = st.lists(PROMPT_PARTS, max_size=6).map("".join)
TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | PROMPTS
INTEGERS = st.none() | st.integers(-(2**70), 2**70)
FLOATS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.from_regex(r"\w[\w \-/]{0,15}[\w\-/]", fullmatch=True).filter(
    lambda key: key == key.strip()
)
RESERVED = {"Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model", "Model hash",
            "Denoising strength", "Version", "Exact prompt", "Exact negative prompt"}  # fmt: skip
EXTRA = st.dictionaries(KEYS.filter(lambda key: key not in RESERVED), TEXTS.map(str), max_size=4)
SIZES = st.none() | st.integers(1, 10**6)


@st.composite
def recipes(draw):
    width = draw(SIZES)
    return Recipe(
        prompt=draw(PROMPTS),
        negative_prompt=draw(PROMPTS),
        steps=draw(INTEGERS),
        sampler=draw(TEXTS),
        schedule=draw(TEXTS),
        guidance=draw(FLOATS),
        seed=draw(INTEGERS),
        width=width,
        height=None if width is None else draw(st.integers(1, 10**6)),
        model=draw(TEXTS),
        model_hash=draw(TEXTS),
        strength=draw(FLOATS),
        version=draw(TEXTS),
        extra=draw(EXTRA),
    )


@given(recipes())
@settings(max_examples=200, deadline=None)
def test_reading_gives_back_what_was_written(recipe):
    assert read_text(write_text(recipe)) == recipe


@given(PROMPTS, PROMPTS)
@settings(max_examples=300, deadline=None)
def test_an_ordinary_reader_finds_the_true_parameters(prompt, negative):
    recipe = Recipe(prompt, negative, steps=20, sampler="Euler", seed=1, width=64, height=64)
    shown, shown_negative, items = ordinary_reader(write_text(recipe))
    assert [items[key] for key in ("Steps", "Sampler", "Seed", "Size")] == [
        *("20", "Euler", "1", "64x64")
    ]
    if "Exact prompt" not in items:
        assert (shown, shown_negative) == (prompt, negative)
    else:
        assert (items["Exact prompt"], items["Exact negative prompt"]) == (prompt, negative)


@given(st.text() | st.lists(PROMPT_PARTS | KEYS, max_size=12).map("".join))
@example('p\nExact prompt: 5, Exact negative prompt: "\\ud800"')
@example("p\nab: 1, cd: 2, Steps: " + "9" * 5000 + ", Size: " + "9" * 5000 + "x1")
@example("p\nab: 1, cd: 2, Size: 1x" + "9" * 5000)
@settings(max_examples=250, deadline=None)
def test_reading_never_fails(text):
    recipe = read_text(text)
    assert read_text(write_text(recipe)) == recipe


@pytest.mark.parametrize(
    "part", ["a", " ", "a ", "ab:", 'ab:"', 'ab:"\\', "ab: 1,", '"', "\n", "\\"]
)
def test_reading_takes_linear_time(part):
    text = "ab: 1, cd: 2, ef: 3, " + part * (200_000 // len(part)) + "."
    start = time.perf_counter()
    read_text(text)
    assert time.perf_counter() - start < 2  # quadratic time would be minutes


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"guidance": float("nan")}, "`guidance` must be finite. Received: guidance=nan"),
        ({"strength": float("inf")}, "`strength` must be finite. Received: strength=inf"),
        ({"width": 8}, "must be given together. Received: width=8, height=None"),
        ({"extra": {"a": "b"}}, "must not have this key. Received: 'a'"),
        ({"extra": {"Steps": "b"}}, "must not have this key. Received: 'Steps'"),
        ({"extra": {"x, Seed": "b"}}, "must not have this key. Received: 'x, Seed'"),
        ({"extra": {"key ": "b"}}, "must not have this key. Received: 'key '"),
    ],
)
def test_what_cannot_be_written_is_refused(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Recipe("p", **fields)
