"""`sfumato generate --grid` and `--prompts`, and `sfumato gallery`."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sfumato.cli import generate
from sfumato.cli.lines import read_lines
from sfumato.cli.progress import Progress
from sfumato.pictures import load, save
from sfumato.request import Request

# Grids


def test_a_grid_and_its_sheet(sfumato, model):
    done = sfumato("generate", "a red apple", "--grid", "steps=1,2,3", "guidance=3,7", "-b", "2")
    assert (done.code, done.err) == (0, "")
    asked = [(request.steps, request.guidance) for request in model.requests]
    assert asked == [(1, 3), (2, 3), (3, 3), (1, 7), (2, 7), (3, 7)]
    assert len({request.seed for request in model.requests}) == 1  # drawn once
    sheet = done.lines[-1]
    assert sheet == "outputs/00007-grid-a-red-apple.png"
    assert sorted(done.lines) == done.files
    height, width, _ = load(sheet).shape
    assert width > 3 * 16
    assert height > 2 * 16
    assert model.loaded == [("mini", None, None)]


def test_a_grid_of_words(sfumato, model):
    done = sfumato(
        *("generate", "a red apple, red", "a red pear", "--grid", "prompt=red,dark green"),
        *("negative=blurry", "--seed", "3", "--negative", "blurry"),
    )
    assert done.code == 2
    assert "have fields among prompt, negative_prompt" in done.err
    done = sfumato(
        *("generate", "a red apple, red", "a red pear", "--grid", "prompt=red,dark green"),
        *("negative_prompt=blurry,grey", "--seed", "3", "--negative", "blurry"),
    )
    assert (done.code, done.err) == (0, "")
    green = "a dark green apple, dark green"
    words = [(request.prompt, request.negative_prompt) for request in model.requests]
    assert words[:2] == [("a red apple, red", "blurry"), (green, "blurry")]
    assert words[2:4] == [("a red apple, red", "grey"), (green, "grey")]
    assert words[5] == ("a dark green pear", "blurry")
    assert [Path(line).name for line in done.lines if "grid" in line] == [
        "00005-grid-a-red-apple-red.png",
        "00010-grid-a-red-pear.png",
    ]


def test_a_grid_of_models_and_seeds(sfumato, model):
    """Values with commas have quotes; every model is opened when it is needed."""
    done = sfumato(
        *("generate", "a", "-o", "a.png", "--grid", "seed=5,-1", "model=sd1.5,mini"),
        *('sampler_options="eta=0.5,rho=5","eta=1"', "--sampler", "Euler a Karras"),
    )
    assert done.code == 0, done.err
    assert [request.model for request in model.requests] == ["sd1.5", "sd1.5", "mini", "mini"] * 2
    assert [request.seed for request in model.requests[::2]] == [5] * 4
    assert model.requests[0].sampler_options == {"eta": 0.5, "rho": 5}
    assert done.lines[-1] == "a-grid.png"
    assert len(model.loaded) == 4 + 4  # to complete the requests, and to paint them


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("steps",), "--grid must be FIELD=VALUE,VALUE such as steps=10,20,30. Received: steps"),
        (("steps=",), "--grid must be FIELD=VALUE,VALUE"),
        (("steps=1,x",), "--grid must be a whole number from 1. Received: x"),
        (("count=1,2",), "--grid must have another field than `count`"),
        (("colour=1,2",), "--grid must have fields among prompt"),
        (("steps=1", "seed=1", "guidance=1", "width=16"), "--grid must have at most 3 fields"),
        (("steps=1,2", "steps=3"), "--grid must have each field once. Received: steps"),
        (("prompt=pear,plum",), "--prompt must have the first value of its axis, 'pear'"),
        (("steps=1,2", "-n", "2"), "--count must be 1 in a grid"),
    ],
)
def test_grids_that_cannot_be(sfumato, model, words, message):
    done = sfumato("generate", "an apple", "--grid", *words)
    assert (done.code, done.out, model.requests) == (2, "", [])
    assert message in done.err


def test_a_value_that_the_model_cannot_take_is_found_first(sfumato, model):
    done = sfumato("generate", "an apple", "--grid", "steps=1,2000")
    assert (done.code, model.requests) == (2, [])
    assert "--steps must be from 1 to 1000. Received: steps=2000" in done.err


# Prompts in a file


def test_lines_of_words_and_of_json(sfumato, model):
    lines = ["  a red apple ", "", '{"prompt": "a pear", "steps": 2, "seed": 9, "count": 2}']
    lines += ['{"prompt": "a fig", "sampler": "DPM++ 2M Karras"}', "{a|b}", "a red apple"]
    Path("prompts.txt").write_text("\ufeff" + "\r\n".join(lines))
    done = sfumato("generate", "--prompts", "prompts.txt", "--steps", "3", "-n", "1", "-b", "2")
    assert (done.code, done.err) == (0, "")
    apple, pear, fig, drawn, second = model.requests
    assert (apple.prompt, apple.steps, apple.count) == ("a red apple", 3, 1)
    assert (pear.prompt, pear.steps, pear.seed, pear.count) == ("a pear", 2, 9, 2)
    assert (fig.sampler, fig.schedule) == ("dpmpp_2m", "karras")
    assert drawn.prompt == "{a|b}"
    assert second == replace(apple, seed=second.seed) != apple
    assert len(done.lines) == 6


def test_what_is_there_is_not_made_again(sfumato, model):
    """Not even where words are drawn, and in whatever order the lines are."""
    lines = ["a {red|green|blue} apple", '{"prompt": "b", "count": 3}', "c", "c"]
    Path("prompts.txt").write_text("\n".join(lines))
    command = ("generate", "--prompts", "prompts.txt", "-b", "2", "-o", "fruit")
    first = sfumato(*command)
    assert len(first.lines) == len({*first.files} - {"prompts.txt"}) == 6
    made = len(model.requests)

    again = sfumato(*command)
    assert (again.code, again.lines, again.files) == (0, [], first.files)
    assert "6 of the pictures were there already" in again.err
    assert len(model.requests) == made

    # One was damaged, one deleted, and the lines are others and in another order.
    Path(first.lines[1]).unlink()
    Path(first.lines[4]).write_bytes(b"")
    Path("prompts.txt").write_text("\n".join([*lines[::-1], "d"]))
    third = sfumato(*command)
    redone = model.requests[made:]
    assert [request.prompt for request in redone] == ["c", "b", "d"]
    assert [request.count for request in redone] == [1, 1, 1]
    assert len(third.lines) == 3
    assert redone[1] in model.requests[1].singles()


def test_other_fields_are_other_pictures(sfumato, model):
    Path("prompts.txt").write_text("a\n")
    for options in (("--steps", "2"), ("--steps", "3"), ("--steps", "2")):
        sfumato("generate", "--prompts", "prompts.txt", *options)
    assert [request.steps for request in model.requests] == [2, 3]
    assert len({request.seed for request in model.requests}) == 1  # that of the words


def test_prompts_from_standard_input_and_one_seed_for_all(sfumato, model, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO('a\n{"prompt": "b"}\n'))
    done = sfumato("generate", "--prompts", "-", "--seed", "4", "-o", "x.png", "--json")
    assert [json.loads(line)["path"] for line in done.lines] == ["x.png", "x-2.png"]
    assert [(request.prompt, request.seed) for request in model.requests] == [("a", 4), ("b", 4)]


def test_lines_in_a_grid(sfumato, model):
    Path("prompts.txt").write_text("a\nb\n")
    command = ("generate", "--prompts", "prompts.txt", "--grid", "steps=1,2")
    done = sfumato(*command)
    assert [request.steps for request in model.requests] == [1, 2, 1, 2]
    assert [Path(line).name[:10] for line in done.lines][2::3] == ["00003-grid", "00006-grid"]
    again = sfumato(*command)
    assert len(model.requests) == 4  # only the sheets are made again, from the files
    assert np.array_equal(load(again.lines[0]), load(done.lines[2]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "a"', "--prompts has a line that cannot be: no JSON"),
        ('{"steps": 3}', "`prompt` must be given"),
        ('{"prompt": "a", "steps": 0}', "`steps` must be a whole number from 1"),
        ('{"prompt": "a", "colour": 0}', "must have fields among"),
        ('{"prompt": "a", "image": "/etc/passwd"}', "`image` must be"),
        ('{"prompt": "a", "wildcards": "/etc"}', "`wildcards` must be"),
        ('{"a":' * 10_000, "no JSON"),
    ],
)
def test_lines_that_cannot_be(sfumato, model, line, message):
    Path("prompts.txt").write_text(f"an apple\n{line}\n")
    done = sfumato("generate", "--prompts", "prompts.txt")
    assert (done.code, done.out, model.loaded) == (2, "", [])
    assert message in done.err
    assert len(done.err) < 2000


def test_files_that_are_no_prompts(sfumato, model):
    assert sfumato("generate", "--prompts", "none.txt").code == 1
    Path("prompts.txt").write_bytes(b"\xff\xfe\x00")
    assert "--prompts must be a file of text" in sfumato("generate", "--prompts", "prompts.txt").err
    Path("prompts.txt").write_text("\n \n")
    assert "there is nothing to paint" in sfumato("generate", "--prompts", "prompts.txt").err


# One bar over all


def test_the_bar_runs_over_all_pictures(sfumato, model, monkeypatch):
    shown = []

    class Watched(Progress):
        def step(self, *counts):
            super().step(*counts)
            (task,) = self._rich.tasks
            shown.append((task.completed, task.total, task.fields["count"]))

    monkeypatch.setattr(generate, "Progress", Watched)
    sfumato("generate", "a", "b", "-n", "3", "-b", "2", "--steps", "2")
    done = [float(completed) for completed, _, _ in shown]
    assert done == [1, 2, 2.5, 3, 4, 5, 5.5, 6]
    assert {total for _, total, _ in shown} == {6}
    assert [count for _, _, count in shown][::2] == ["0/6", "2/6", "3/6", "5/6"]

    shown.clear()
    sfumato("generate", "a", "--steps", "2")  # of one picture it is that of the steps
    assert shown == [(1, 2, "1/2"), (2, 2, "2/2")]


# Galleries


def test_a_gallery_of_a_folder(sfumato):
    Path("fruit").mkdir()
    for i in range(5):
        save(f"fruit/{i}.png", np.full((40, 60, 3), 50 * i, np.uint8))
    Path("fruit/notes.txt").write_text("a")
    Path("fruit/broken.png").write_bytes(b"no picture")
    done = sfumato("gallery", "fruit", "--columns", "2", "--size", "30")
    assert (done.code, done.lines) == (0, ["gallery.png"])
    assert "left out of the gallery" in done.err
    assert sfumato("gallery", "fruit").lines == ["gallery-2.png"]
    assert sfumato("gallery", "fruit", "-o", "all.webp").lines == ["all.webp"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "there must be one folder"),
        (("a", "b"), 2, "there must be one folder"),
        (("empty",), 1, "`folder` must hold PNG, JPEG or WebP pictures"),
        (("nowhere",), 1, "nowhere"),
        (("empty", "--columns", "0"), 2, "--columns must be a whole number from 1"),
        (("empty", "-o", "a.gif"), 2, "must end in .png"),
    ],
)
def test_galleries_that_cannot_be(sfumato, words, code, message):
    Path("empty").mkdir()
    done = sfumato("gallery", *words)
    assert (done.code, done.out) == (code, "")
    assert message in done.err


def test_a_request_of_a_line_is_the_same_every_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    Path("prompts.txt").write_text("a\na\n")
    first, second = (Request(**fields) for fields in read_lines("prompts.txt", {}))
    assert [first, second] == [Request(**fields) for fields in read_lines("prompts.txt", {})]
    assert first.seed != second.seed
