"""ControlNets as a field: from Python, the command line, JSON and recipes."""

from __future__ import annotations

import doctest
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fake_models import FakeSettings
from sfumato.pictures import save
from sfumato.pictures.recipe import read_text, write_text
from sfumato.request import Request, RequestError, control
from sfumato.request.control import Control, Controls
from sfumato.request.controlled import hint_of
from sfumato.request.fields import read, specs

PICTURE = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)
MODEL: Any = FakeSettings()


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("photo.png", PICTURE)
    (tmp_path / "net.safetensors").touch()


def asked(*controls: Any, **fields: Any) -> Request:
    return Request(prompt="a", controls=controls, **fields)


def test_examples():
    assert doctest.testmod(control).failed == 0


def test_forms_in_python():
    whole = Control(file="net.safetensors", image=PICTURE, weight=0.5, end=0.7)
    options = {"weight": 0.5, "end": 0.7}
    for form in (
        ("net.safetensors", "photo.png", options),
        ["net.safetensors", PICTURE, options],
        {"file": "net.safetensors", "image": PICTURE, **options},
        whole,
    ):
        assert asked(form).controls == (whole,)
    assert asked(("net", PICTURE)).controls == (Control(file="net", image=PICTURE),)
    assert asked(("net",)) == asked(Control(file="net"))
    assert asked(whole) != asked(replace(whole, image=255 - PICTURE))
    assert hash(asked(whole)) == hash(asked(replace(whole)))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("net.safetensors", "`controls` must be ControlNets, each as"),
        ([("net", PICTURE, 0.5, 0.7)], "each must be .file, picture. or"),
        ([("net", PICTURE, {"wight": 1})], "must have fields among .*weight"),
        ([("net", PICTURE, 0.5)], "must be fields by name"),
        ([{"image": PICTURE}], "`file` must be a file or a folder"),
        ([("net", PICTURE, {"weight": -1})], "`weight` must be a number from 0"),
        ([("net", PICTURE, {"mode": "loud"})], "`mode` must be one of balanced, prompt"),
        ([(7, PICTURE)], "`file` must be a file or a folder"),
    ],
)
def test_what_cannot_be(value, words):
    with pytest.raises(RequestError, match=words):
        Request(prompt="a", controls=value)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("net.safetensors:photo.png", {"image": PICTURE}),
        ("net.safetensors", {}),
        ("net.safetensors:canny", {"preprocessor": "canny"}),
        (
            "net.safetensors:photo.png:canny, weight=0.8,start=0.1,mode=guess",
            {
                "image": PICTURE,
                "preprocessor": "canny",
                "weight": 0.8,
                "start": 0.1,
                "mode": "guess",
            },
        ),
        ("net.safetensors:photo.png:depth", {"image": PICTURE, "task": "depth"}),
        (r"C:\nets\a.pth:photo.png:weight=2", {"image": PICTURE, "weight": 2}),
    ],
)
def test_the_command_line(text, fields):
    file = r"C:\nets\a.pth" if text.startswith("C:") else "net.safetensors"
    assert Controls().read(text) == (Control(file=file, **fields),)


@pytest.mark.parametrize("text", ["a:b:c", "net:nowhere.png", "net:photo.png:weight=x", ":"])
def test_the_command_line_refuses(text):
    with pytest.raises(RequestError, match="must be FILE:IMAGE, or"):
        read("controls", specs(Request)["controls"], text)


def test_json_names_no_file_of_this_machine():
    whole = asked(("/home/me/nets/edges.safetensors", PICTURE, {"weight": 0.5}))
    values = json.loads(json.dumps(whole.to_json()))
    assert values["controls"][0]["file"] == "edges"
    assert Request.from_json(values) == asked(("edges", PICTURE, {"weight": 0.5}))
    for file in ("/etc/passwd", "../edges", r"\\server\edges", "edges.safetensors", "~root"):
        values["controls"][0]["file"] = file
        with pytest.raises(RequestError):
            Request.from_json(values)
    values["controls"][0] |= {"file": "edges", "image": "photo.png"}
    with pytest.raises(RequestError):
        Request.from_json(values)


def test_a_recipe_has_all_but_the_picture():
    one = Control(file="/nets/edges.safetensors", image=PICTURE, preprocessor="canny", end=0.5)
    two = Control(file="/nets/depth", image=PICTURE, weight=0.3, mode="control", resize="fill")
    recipe = read_text(write_text(asked(one, two, steps=3, seed=1).recipe()))
    assert recipe.items["ControlNet 0"] == (
        "Module: canny, Model: edges, Weight: 1, Resize Mode: Crop and Resize, "
        "Guidance Start: 0, Guidance End: 0.5, Control Mode: Balanced"
    )
    again = Request.from_recipe(recipe)
    assert again.controls == (
        replace(one, file="edges", image=None),
        replace(two, file="depth", image=None),
    )
    assert not [key for key in Request.unread(recipe) if key.startswith("ControlNet")]


def test_a_recipe_of_a1111():
    text = (
        'a\nSteps: 20, Sampler: Euler, Seed: 5, Size: 512x512, ControlNet 0: "Module: '
        "recolor_luminance, Model: control_v11p_sd15_canny [d14c016b], Weight: 0.9, Resize Mode: "
        "Just Resize, Processor Res: 512, Threshold A: 100.0, Threshold B: 200.0, Guidance Start: "
        "0.1, Guidance End: 0.8, Pixel Perfect: True, Control Mode: My prompt is more important, "
        'Hr Option: Both", Version: v1.10.1'
    )
    (found,) = Request.from_recipe(read_text(text)).controls
    assert found == Control(
        file="control_v11p_sd15_canny",
        preprocessor="recolour",
        weight=0.9,
        resize="stretch",
        start=0.1,
        end=0.8,
        mode="prompt",
    )


def test_what_a_recipe_says_and_we_do_not_have():
    """A network that reads poses is not here; the words about it are."""
    text = 'a\nSteps: 2, Seed: 1, ControlNet 0: "Module: openpose_full, Model: pose, Weight: 2"'
    (found,) = Request.from_recipe(read_text(text)).controls
    assert found == Control(file="pose", weight=2)
    with pytest.raises(RequestError, match="`controls` must be FILE:IMAGE"):
        Request.from_recipe(read_text('a\nSteps: 2, Seed: 1, ControlNet 0: "Module: canny"'))


def test_completed():
    (found,) = asked(("net.safetensors", PICTURE)).completed(MODEL).controls
    assert found.file == "net.safetensors"
    assert Request(prompt="a").completed(MODEL).controls == ()
    for controls, words, fields in (
        (
            [("nowhere", PICTURE)],
            "`controls` must be files or folders, or names .* Received: nowhere",
            {},
        ),
        ([("net.safetensors",)], "`controls` must have a picture each", {}),
        ([("net.safetensors", PICTURE, {"start": 1, "end": 0.5})], "start before they end", {}),
        ([("net.safetensors", PICTURE, {"preprocessor": "inpaint"})], "`mask` must be given", {}),
    ):
        with pytest.raises(RequestError, match=words):
            asked(*controls, **fields).completed(MODEL)


def test_names_in_a_folder(tmp_path):
    """A request from elsewhere names none, so only the user's own folder is looked into."""
    (tmp_path / "nets/depth").mkdir(parents=True)
    (tmp_path / "nets/depth/config.json").write_text("{}")
    (tmp_path / "nets/edges.pth").touch()
    given = {"control_folder": "nets"}
    found = asked(("edges", PICTURE), ("depth", PICTURE), **given).completed(MODEL).controls
    assert [control.file for control in found] == ["nets/edges.pth", "nets/depth"]
    with pytest.raises(RequestError):
        Request.from_json({"prompt": "a", "control_folder": "nets"})


def test_the_picture_that_it_is_shown():
    """Its own at the request's size, or the one that is painted from, with its mask."""
    own = asked(("net.safetensors", PICTURE, {"resize": "crop"}), width=32, height=16)
    own = own.completed(MODEL)
    assert hint_of(own.controls[0], own).shape == (16, 32, 3)
    same = asked(("net.safetensors", PICTURE), width=24, height=16).completed(MODEL)
    assert np.array_equal(hint_of(same.controls[0], same), PICTURE / np.float32(255))

    mask = np.zeros((16, 24), np.uint8)
    mask[:8, :8] = 255
    part = {"image": 255 - PICTURE, "mask": mask, "inpaint_area": "masked", "padding": 0}
    part = asked(("net.safetensors", PICTURE), width=8, height=8, **part).completed(MODEL)
    assert np.array_equal(hint_of(part.controls[0], part), PICTURE[:8, :8] / np.float32(255))
    mask[:8] = 255
    given = {"image": PICTURE, "mask": mask}
    painted = asked({"file": "net.safetensors", "preprocessor": "inpaint"}, **given)
    painted = painted.completed(MODEL)
    hint = hint_of(painted.controls[0], painted)
    assert (hint[:8] == -1).all()
    assert np.array_equal(hint[8:], PICTURE[8:] / np.float32(255))
