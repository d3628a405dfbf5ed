"""The recipe text: known examples, an ordinary reader as the judge, and any prompt at all."""

from __future__ import annotations

import doctest
import json
import re
import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sfumato.pictures import Recipe, read_text, write_text

FULL = Recipe(
    "a red apple, (sharp:1.2)\nin a bowl",
    "blurry,\nlow quality",
    {
        "Version": "v1.10.1",
        "Own key": "grün",
        "Lora hashes": "a: 1234, b: 5678",
        "RNG": "NV",
        "Denoising strength": "0.7",
        "Clip skip": "2",
        "Model": "v1-5-pruned",
        "Model hash": "45dee52b",
        "Size": "512x768",
        "Seed": "965400086",
        "CFG scale": "7",
        "Schedule type": "Karras",
        "Sampler": "DPM++ 2M",
        "Steps": "20",
    },
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
    assert doctest.testmod(sys.modules[Recipe.__module__]) == (0, 2)


def test_known_text():
    assert write_text(FULL) == FULL_TEXT
    assert read_text(FULL_TEXT) == FULL


def test_ordinary_programs_read_it():
    prompt, negative, items = ordinary_reader(write_text(FULL))
    assert (prompt, negative) == (FULL.prompt, FULL.negative_prompt)
    assert items["Size"] == "512x768"
    assert items["Lora hashes"] == "a: 1234, b: 5678"
    assert len(items) == 14


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        ("", None),
        (" \0\n ", None),
        ("just a prompt", Recipe("just a prompt")),
        ("a: b, c", Recipe("a: b, c")),
        ("p\nSteps: 20, Seed: 3", Recipe("p\nSteps: 20, Seed: 3")),  # two items are no parameters
        ("ab: 1, cd: 2, Size: 8x16", Recipe("", "", {"ab": "1", "cd": "2", "Size": "8x16"})),
        ("p\n\nq\nab: 1, cd: 2, ef: 3", Recipe("p\n\nq", "", {"ab": "1", "cd": "2", "ef": "3"})),
        (
            " p \r\nNegative prompt:n\n m\nSteps: x, Seed: 5, CFG scale: nan, Foo: 5x6,",
            Recipe("p", "n\nm", {"Steps": "x", "Seed": "5", "CFG scale": "nan", "Foo": "5x6"}),
        ),
        (
            'p\nab: "c, d", ef: "g" h, ij: "',
            Recipe("p", "", {"ab": "c, d", "ef": '"g" h', "ij": '"'}),
        ),
        (  # an item that is its key alone
            "p\nab: 1, Tiling, Seed: 2, Steps: 3",
            Recipe("p", "", {"ab": "1", "Tiling": "Tiling", "Seed": "2", "Steps": "3"}),
        ),
        ("p\na : 1, b : 2, c : 3, Seed: 4", Recipe("p", "", {"Seed": "4"})),
    ],
)  # fmt: skip
def test_texts_of_other_programs(text, recipe):
    assert read_text(text) == recipe


GRAPH = json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 5, "text": "a: 1, b: 2"}}})
RESOURCES = '[{"type": "lora", "weight": 0.8, "name": "a, b"}, {"type": "checkpoint"}]'


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Civitai resources", RESOURCES),
        ("Hashes", '{"model": "45dee52b", "vae": "1, 2"}'),
        ("SDCPP", GRAPH),
        ("Empty", "[]"),
    ],
)
def test_a_value_that_is_json_is_whole(key, value):
    items = {"Steps": "1", key: value, "Seed": "2", "Last": value}
    text = f"a cat\nSteps: 1, {key}: {value}, Seed: 2, Last: {value}"
    assert read_text(text) == Recipe("a cat", "", items)
    assert read_text(write_text(Recipe("a cat", "", items))) == Recipe("a cat", "", items)


def test_a_value_that_only_begins_like_json_ends_at_the_comma():
    found = read_text("a cat\nSteps: 1, Other: [a, Seed: 2, More: {} x, CFG scale: 3")
    assert found == Recipe(
        "a cat", "", {"Steps": "1", "Other": "[a", "Seed": "2", "More": "{} x", "CFG scale": "3"}
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"prompt": "a cat", "steps": 20, "seed": 5}',
        '{"sui_image_params": {"prompt": "x: 1, y: 2, z: 3, Seed: 4"}}',
        ' {\n  "prompt": "a cat",\n  "steps": 20\n}\n',
        '[["prompt", "a cat"]]',
        GRAPH,
        GRAPH[:-9],  # cut off
        "{}",
    ],
)
def test_json_is_no_prompt(text):
    assert read_text(text) is None
    items = {"Steps": "1", "CFG scale": "2", "Seed": "3"}
    for recipe in (Recipe(text), Recipe(text, text, items)):  # unless someone painted it
        assert read_text(write_text(recipe)) == recipe


@pytest.mark.parametrize("text", ["[a|b] cat", "{a|b}", "[[a, b]] cat", '"a cat"', "5", "[" * 9999])
def test_prompts_that_look_like_json(text):
    assert read_text(text) == Recipe(text)


def test_two_surrogates_are_one_character():
    assert read_text(write_text(Recipe("\ud83d\udc34"))) == Recipe("🐴")


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
    stated = {"Steps": "20", "Sampler": "Euler a", "Schedule type": "Karras", "CFG scale": "7.5"}
    stated |= {"Seed": "1", "Size": "64x64", "Version": "Sfumato"}
    recipe = Recipe(prompt, negative, stated)
    text = write_text(recipe)
    assert read_text(text) == recipe
    assert "\0" not in text
    text.encode()  # legal text
    shown, shown_negative, items = ordinary_reader(text)
    assert {k: v for k, v in items.items() if not k.startswith("Exact")} == stated
    assert list(items)[-1] == "Version"
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
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | PROMPTS
EXACT = {"Exact prompt", "Exact negative prompt"}
KEYS = st.from_regex(r"\w[\w \-/]{0,15}[\w\-/]", fullmatch=True).filter(
    lambda key: key == key.strip() and key not in EXACT
) | st.sampled_from(["Steps", "Size", "Seed", "RNG", "Version"])
ITEMS = st.dictionaries(KEYS, TEXTS, max_size=6)


@given(st.builds(Recipe, PROMPTS, PROMPTS, ITEMS))
@settings(max_examples=200, deadline=None)
def test_reading_gives_back_what_was_written(recipe):
    assert read_text(write_text(recipe)) == recipe


@given(PROMPTS, PROMPTS)
@settings(max_examples=300, deadline=None)
def test_an_ordinary_reader_finds_the_true_parameters(prompt, negative):
    stated = {"Steps": "20", "Sampler": "Euler", "Seed": "1", "Size": "64x64"}
    shown, shown_negative, items = ordinary_reader(write_text(Recipe(prompt, negative, stated)))
    assert {key: items[key] for key in stated} == stated
    if "Exact prompt" not in items:
        assert (shown, shown_negative) == (prompt, negative)
    else:
        assert (items["Exact prompt"], items["Exact negative prompt"]) == (prompt, negative)


@given(st.text() | st.lists(PROMPT_PARTS | KEYS, max_size=12).map("".join))
@example('p\nExact prompt: 5, Exact negative prompt: "\\ud800"')
@example("p\nab: 1, cd: 2, Steps: " + "9" * 5000 + ", Size: " + "9" * 5000 + "x1")
@settings(max_examples=250, deadline=None)
def test_reading_never_fails(text):
    recipe = read_text(text)
    if recipe is not None:
        assert read_text(write_text(recipe)) == recipe


@pytest.mark.parametrize(
    "part",
    [
        *("a", " ", "a ", "ab:", 'ab:"', 'ab:"\\', "ab: 1,", '"', "\n", "\\"),
        *("ab:[", 'ab:["x",', '"ab:[1,', "ab:[" + "[" * 5000, 'ab:{"a":', 'ab:{"a":[1],'),
    ],
)
def test_reading_takes_linear_time(part):
    text = "ab: 1, cd: 2, ef: 3, " + part * (200_000 // len(part)) + "."
    start = time.perf_counter()
    read_text(text)
    assert time.perf_counter() - start < 2  # quadratic time would be minutes


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"a": "b"}, "must not have this key. Received: 'a'"),
        ({"Exact prompt": "b"}, "must not have this key. Received: 'Exact prompt'"),
        ({"x, Seed": "b"}, "must not have this key. Received: 'x, Seed'"),
        ({"x: 1": "b"}, "must not have this key. Received: 'x: 1'"),
        ({"key ": "b"}, "must not have this key. Received: 'key '"),
        ({"k" * 102: "b"}, "must not have this key."),
        ({"Steps": 20}, "must be text by key. Received: 'Steps': 20"),
    ],
)
def test_what_cannot_be_written_is_refused(items, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Recipe("p", "", items)
