"""Pictures as prompts as a field: from Python, the command line, JSON and recipes."""

from __future__ import annotations

import doctest
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_models import FakeSettings
from sfumato.pictures import save
from sfumato.pictures.recipe import read_text, write_text
from sfumato.request import Request, RequestError, image_prompts
from sfumato.request.fields import read, specs
from sfumato.request.image_prompts import ImagePrompt, ImagePrompts
from sfumato.request.wording import command_line, python

PICTURE = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)
MODEL: Any = FakeSettings()


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save("photo.png", PICTURE)
    (tmp_path / "ip.safetensors").write_bytes(bytes(8) + b"12345678")
    (tmp_path / "encoder").mkdir()


def asked(*prompts: Any, **fields: Any) -> Request:
    return Request(prompt="a", image_prompts=prompts, **fields)


def test_examples() -> None:
    assert doctest.testmod(image_prompts).failed == 0


def test_forms_in_python() -> None:
    whole = ImagePrompt(file="ip.safetensors", image=PICTURE, weight=0.6)
    for form in (
        ("ip.safetensors", "photo.png", 0.6),
        ["ip.safetensors", PICTURE, {"weight": 0.6}],
        {"file": "ip.safetensors", "image": PICTURE, "weight": 0.6},
        whole,
    ):
        assert asked(form).image_prompts == (whole,)
    assert asked(("ip", PICTURE)).image_prompts[0].weight == 1
    assert asked(whole) != asked(replace(whole, image=255 - PICTURE))
    assert hash(asked(whole)) == hash(asked(replace(whole)))
    assert asked(whole).shape_key != asked().shape_key
    assert asked(replace(whole, weight=0)).shape_key == asked().shape_key  # nothing is attended to


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("ip.safetensors", "`image_prompts` must be IP-Adapters with pictures"),
        ([("ip",)], "each must be .file, picture."),
        ([("ip", PICTURE, {"wight": 1})], "must have fields among .*weight"),
        ([("ip", PICTURE, "loud")], "`weight` must be a number from -10 to 10"),
        ([("ip", PICTURE, 11)], "`weight` must be a number from -10 to 10"),
        ([(7, PICTURE)], "`file` must be a file or a folder"),
        ([("ip", "nowhere.png")], "nowhere.png"),
    ],
)
def test_what_cannot_be(value: Any, words: str) -> None:
    with pytest.raises((RequestError, FileNotFoundError), match=words):
        Request(prompt="a", image_prompts=value)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("ip.safetensors:photo.png", {}),
        ("ip.safetensors:photo.png:0.6", {"weight": 0.6}),
        ("ip.safetensors:photo.png:-0.5", {"weight": -0.5}),
        (
            r"C:\nets\ip.bin:photo.png:weight=0.6, encoder=encoder",
            {"file": r"C:\nets\ip.bin", "weight": 0.6, "encoder": "encoder"},
        ),
    ],
)
def test_the_command_line(text: str, fields: dict[str, Any]) -> None:
    given = {"file": "ip.safetensors", "image": PICTURE} | fields
    assert ImagePrompts().read(text) == (ImagePrompt(**given),)


@pytest.mark.parametrize(
    "text",
    ["ip", "ip:photo.png:a:b", "ip:nowhere.png", "ip:photo.png:weight=x", "ip:photo.png:x=1"],
)
def test_the_command_line_refuses(text: str) -> None:
    with pytest.raises(RequestError, match="must be FILE:IMAGE, or"):
        read("image_prompts", specs(Request)["image_prompts"], text)


def test_json_names_no_file_of_this_machine() -> None:
    given = (
        "/home/me/ip-adapter_sd15.safetensors",
        PICTURE,
        {"weight": 0.5, "encoder": "/home/me"},
    )
    values = json.loads(json.dumps(asked(given).to_json()))
    [told] = values["image_prompts"]
    assert {k: v for k, v in told.items() if k != "image"} == {
        "file": "ip-adapter_sd15",
        "weight": 0.5,
    }
    assert Request.from_json(values) == asked(("ip-adapter_sd15", PICTURE, 0.5))
    for wrong in ({"file": "/etc/passwd"}, {"image": "photo.png"}, {"encoder": "encoder"}):
        values["image_prompts"] = [told | wrong]
        with pytest.raises(RequestError):
            Request.from_json(values)


def test_a_recipe_has_names_and_digests() -> None:
    one = ImagePrompt(file="ip.safetensors", image=PICTURE, weight=0.6)
    recipe = read_text(write_text(asked(one, steps=3, seed=1).recipe()))
    said = recipe.items["Image prompt 0"]
    assert said.startswith("Model: ip [ef797c8118f0], Image: "), said  # SHA-256, as of LoRAs
    assert said.endswith(", Weight: 0.6")
    again = Request.from_recipe(recipe)
    assert again.image_prompts == (ImagePrompt(file="ip", weight=0.6),)
    assert not Request.unread(recipe).keys() & {"Image prompt 0"}
    with pytest.raises(RequestError, match="must be FILE:IMAGE"):
        Request.from_recipe(read_text("a\nSteps: 2, Seed: 1, Image prompt 0: of a fox"))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Request.from_recipe(recipe, image_prompts=[one]).image_prompts == (one,)
    with pytest.warns(UserWarning, match="The picture of image prompt 0 is not the one"):
        Request.from_recipe(recipe, image_prompts=[replace(one, image=255 - PICTURE)])
    Path("ip.safetensors").write_bytes(bytes(8) + b"87654321")
    with pytest.warns(UserWarning, match="The IP-Adapter of image prompt 0 is not the one"):
        Request.from_recipe(recipe, image_prompts=[one])


def test_completed() -> None:
    (found,) = asked(("ip.safetensors", PICTURE)).completed(MODEL).image_prompts
    assert found.file == "ip.safetensors"
    for prompt, words in (
        (
            ("nowhere", PICTURE),
            "`image_prompts` must be files of IP-Adapters, .* Received: nowhere",
        ),
        ({"file": "ip.safetensors"}, "`image_prompts` must have a picture each"),
        (
            ("ip.safetensors", PICTURE, {"encoder": "nowhere"}),
            "`encoder` must be a file or a folder",
        ),
    ):
        with pytest.raises(RequestError, match=words):
            asked(prompt).completed(MODEL)


def test_names_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets/face.bin").touch()
    found = asked(("face", PICTURE), control_folder="nets").completed(MODEL).image_prompts
    assert [prompt.file for prompt in found] == ["nets/face.bin"]


def test_in_words() -> None:
    request = asked(("ip.safetensors", PICTURE, -0.5), ("b.bin", PICTURE), ("c.bin", PICTURE, 0.25))
    assert command_line(request) == (
        "sfumato generate a --image-prompt=ip.safetensors:image-prompt0.png:weight=-0.5 "
        "--image-prompt=b.bin:image-prompt1.png --image-prompt=c.bin:image-prompt2.png:weight=0.25"
    )
    assert "('b.bin', 'image-prompt1.png', {})" in python(request)
