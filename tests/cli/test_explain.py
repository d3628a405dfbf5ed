"""`sfumato explain PROMPT...`: what a model reads of a prompt."""

from __future__ import annotations

import json


def test_as_text(sfumato):
    done = sfumato("explain", "a (red:1.3) [apple:pear:0.5]", "--steps", "4", "--guidance", "1")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "4 steps, 1 x 75 tokens",
        "prompt, steps 1-2: a (red:1.3) apple",
        "    3  a · red 1.3 · apple",
        "prompt, steps 3-4: a (red:1.3) pear",
        "    3  a · red 1.3 · pear",
    ]


def test_as_json_one_for_each_prompt(sfumato, tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/animals.txt").write_text("cat\n")
    options = ("--json", "--wildcards", "lists", "--negative", "x", "--seed", "3")
    done = sfumato("explain", "a __animals__", "(b:2)", *options)
    first, second = map(json.loads, done.out.splitlines())
    assert first["prompt"][0]["text"] == "a cat"
    assert first["request"]["template"] == "a __animals__"
    assert first["negative_prompt"][0]["text"] == "x"
    assert second["prompt"][0]["chunks"] == [[{"id": 321, "text": "b", "weight": 2.0}]]


def test_what_cannot_be(sfumato):
    done = sfumato("explain")
    assert (done.code, done.out) == (2, "")
    done = sfumato("explain", "a", "--emphasis", "loud")
    assert done.code == 2
    assert "--emphasis must be one of original, no_norm, comfyui, ignore, none" in done.err
