"""`sfumato info FILE`: the recipe that a picture carries."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from sfumato.pictures import Recipe, save, write_text

ITEMS = {"Steps": "2", "Sampler": "Euler a", "Seed": "3", "Size": "8x16", "ENSD": "31337"}
RECIPE = Recipe("a red\napple", "blurry", ITEMS)


@pytest.fixture
def picture(tmp_path):
    return save(tmp_path / "apple.webp", np.zeros((16, 8, 3), "uint8"), RECIPE)


def test_as_text(sfumato, picture):
    done = sfumato("info", str(picture))
    assert (done.code, done.err) == (0, "")
    assert done.out == write_text(RECIPE) + "\n"


def test_as_json(sfumato, picture):
    done = sfumato("info", "--json", "apple.webp")
    assert json.loads(done.out) == {
        "path": "apple.webp",
        "prompt": "a red\napple",
        "negative_prompt": "blurry",
        "width": 8,
        "height": 16,
        "seed": 3,
        "steps": 2,
        "sampler": "euler_a",
        "other": {"ENSD": "31337"},
    }


def test_as_json_where_it_is_no_request(sfumato, tmp_path):
    items = {"Steps": "-2", "Sampler": "Euler", "Seed": "3"}
    save(tmp_path / "a.png", np.zeros((16, 8, 3), "uint8"), Recipe("a", "b", items))
    entry = json.loads(sfumato("info", "--json", "a.png").out)
    assert entry.pop("error").startswith("`steps` must be a whole number from 1")
    assert entry == {"path": "a.png", "prompt": "a", "negative_prompt": "b", "other": items}


def test_whose_a_picture_is_and_what_cannot_be_followed(sfumato, tmp_path):
    items = ITEMS | {"Sampler": "DPM fast", "RNG": "CPU", "Version": "v1.10.1"}
    recipe = Recipe("a", "", items)
    save(tmp_path / "a.png", np.zeros((8, 8, 3), "uint8"), recipe)
    done = sfumato("info", "a.png")
    assert (done.code, done.out) == (0, write_text(recipe) + "\n")
    message = "a.png was made by A1111; cannot be followed: Sampler DPM fast, ENSD 31337"
    assert done.err == f"sfumato: {message}\n"
    entry = json.loads(sfumato("info", "--json", "a.png").out)
    assert (entry["program"], entry["steps"]) == ("A1111", 2)
    assert entry["other"]["Sampler"] == "DPM fast"
    assert "sampler" not in entry
    assert "error" not in entry


def test_several_files_are_told_apart(sfumato, picture):
    done = sfumato("info", "apple.webp", "apple.webp")
    assert done.lines.count("apple.webp") == 2


def test_one_without_a_recipe_fails_after_the_others(sfumato, picture, tmp_path):
    save(tmp_path / "plain.png", np.zeros((8, 8, 3), "uint8"))
    done = sfumato("info", "plain.png", "apple.webp")
    assert done.code == 1
    assert done.err == "sfumato: plain.png carries no recipe\n"
    assert "Steps: 2" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "there is no picture to read"),
        (("missing.png",), 1, "missing.png"),
        (("text.png",), 1, "must be a PNG, JPEG or WebP picture. Received: text.png"),
    ],
)
def test_errors_are_one_line(sfumato, tmp_path, arguments, code, message):
    (tmp_path / "text.png").write_text("no picture")
    done = sfumato("info", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert done.err.startswith("sfumato: error: ")
    assert done.err.count("\n") == 1


def test_a_bad_file_does_not_hide_the_others(sfumato, picture, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    done = sfumato("info", "missing.png", "text.png", "folder.png", "apple.webp")
    assert (done.code, done.err.count("\n")) == (1, 3)
    assert "Steps: 2" in done.out


def test_json_is_as_that_of_generate(sfumato, model):
    made = json.loads(sfumato("generate", "a", "--json").out)
    del made["seconds"]
    assert json.loads(sfumato("info", "--json", made["path"]).out) == made


def test_a_strangers_text_commands_no_terminal(sfumato, tmp_path, monkeypatch):
    prompt = "a \x1b]0;title\x07 b\nc \x9b31m"
    save(tmp_path / "a.png", np.zeros((8, 8, 3), "uint8"), Recipe(prompt))
    assert sfumato("info", "a.png").out == f"{prompt}\n"
    save(tmp_path / "\x1b[31m.png", np.zeros((8, 8, 3), "uint8"))
    assert sfumato("info", "\x1b[31m.png").err == "sfumato: \\x1b[31m.png carries no recipe\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert sfumato("info", "a.png").out == "a \\x1b]0;title\\x07 b\nc \\x9b31m\n"
