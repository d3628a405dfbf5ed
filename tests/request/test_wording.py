"""Commands and scripts made from a request ask for the same request."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
import pytest

from sfumato.cli.arguments import COMMANDS
from sfumato.cli.asked import read_arguments
from sfumato.request import Request
from sfumato.request.control import Control
from sfumato.request.wording import command_line, python

PROMPTS = [
    "a red apple",
    'it\'s $(rm -rf ~) `id` "quoted" \\ and\na second line; | & > <img onerror=x>',
    "--steps 9",
    "猫 {a|b} (red:1.3)",
]
FIELDS: dict[str, Any] = {
    "negative_prompt": "-blurry",
    "clip_skip": 2,
    "width": 72,
    "seed": 2**64 - 1,
    "seed_resize": (64, 72),
    "model": "mini-turbo",
    "steps": 7,
    "guidance": 4.5,
    "sampler": "euler_a",
    "sampler_options": {"eta": 0.5},
    "guidance_interval": (0.25, 1.0),
    "extend": {"left": 8},
    "seamless": "both",
}


def words_of(command: str) -> list[str]:
    words = shlex.split(command)
    assert words[:2] == ["sfumato", "generate"]
    return words[2:]


def read_back(command: str) -> Request:
    parser = COMMANDS["generate"].parser()
    ((request,),) = read_arguments(parser.parse_args(words_of(command))).groups
    return request


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("fields", [{}, FIELDS], ids=["plain", "all"])
def test_the_command_asks_for_the_same(prompt: str, fields: dict[str, Any]):
    request = Request(prompt=prompt, **fields)
    assert read_back(command_line(request)) == request


class Recorder:
    """A stand-in for the library: notes what a script asks for."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def load(self, model: str, **fields: Any) -> Recorder:
        self.asked |= {"model": model, **fields}
        return self

    def generate(self, prompt: str, **fields: Any) -> list[Any]:
        self.asked |= {"prompt": prompt, **fields}
        return []


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("fields", [{}, FIELDS], ids=["plain", "all"])
def test_the_script_asks_for_the_same(prompt: str, fields: dict[str, Any]):
    request = Request(prompt=prompt, **fields)
    script, recorder = python(request), Recorder()
    assert script.startswith("import sfumato\n")
    exec(script.removeprefix("import sfumato\n"), {"sfumato": recorder})
    expected = request.changed(model=request.model or "mini")
    assert Request(**recorder.asked) == expected


def test_pictures_go_by_a_name_and_what_the_request_notes_is_left_out():
    pixels = np.zeros((8, 8, 3), "uint8")
    request = Request(
        prompt="x", image=pixels, mask=np.full((8, 8), 255, "uint8"), image_name="secret.png"
    )
    assert command_line(request) == "sfumato generate x --image image.png --mask mask.png"
    assert "image='image.png'" in python(request)
    assert "secret" not in command_line(request) + python(request)


def test_controlnets_go_with_all_that_is_said_of_them():
    pixels = np.zeros((8, 8, 3), "uint8")
    given = {"file": "edges", "preprocessor": "canny", "weight": 0.5, "task": "edges"}
    led = Request(prompt="x", controls=(Control(image=pixels, **given), Control(file="depth")))
    assert command_line(led) == (
        "sfumato generate x --control=edges:control0.png:preprocessor=canny,weight=0.5,task=edges "
        "--control=depth"
    )
    options = {"preprocessor": "canny", "weight": 0.5, "task": "edges"}
    controls = [("edges", "control0.png", options), ("depth", None, {})]
    assert f"controls={controls!r}" in python(led)
    without_pictures = Request(prompt="x", controls=(Control(**given), Control(file="depth")))
    assert read_back(command_line(without_pictures)) == without_pictures
