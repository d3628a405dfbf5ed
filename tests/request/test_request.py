"""`Request`: the same from Python, JSON, the command line and a recipe."""

from __future__ import annotations

import doctest
import json
import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from request_samples import IMAGE, MODEL, SAMPLES, VALUES

from sfumato.cli.arguments import COMMANDS
from sfumato.cli.asked import read_arguments
from sfumato.diffusion import Sampler, find_sampler
from sfumato.pictures import Recipe, read_text, write_text
from sfumato.request import Request, larger
from sfumato.request.fields import specs
from sfumato.request.image_prompts import ImagePrompt

NOTED = {"template": "a {b|c}", "negative_template": "{d}", "image_name": "apple.png"}
FOLDERS = {"lora_folder": None, "control_folder": None}  # of this machine
NOT_IN_A_RECIPE = {"count", "image", "mask", "wildcards", "embeddings", *FOLDERS}
LEFT_OUT = {"count": 1, "image": None, "mask": None, "wildcards": {}, **FOLDERS}
LEFT_OUT |= {"embeddings": {}}
BARE = {"image_prompts": (ImagePrompt(file="ip", weight=0.5),)}  # as a recipe has the sample


@st.composite
def requests(draw):
    names = draw(st.sets(st.sampled_from([*VALUES])))
    # One item of a recipe stands for the strength of one pass or of the second.
    names -= {"strength"} if "upscale" in names else {"upscale_strength", "upscaler"}
    names -= set() if "upscale" in names else {"upscale_steps"}
    names -= set() if "refiner" in names else {"refiner_switch"}
    return Request(**{name: draw(VALUES[name]) for name in names | {"prompt"}})


def test_all_fields_are_tested():
    assert VALUES.keys() == specs(Request).keys()
    assert SAMPLES.keys() == VALUES.keys() - {"prompt"} - NOTED.keys()
    assert not {f"--{name.replace('_', '-')}" for name in NOTED} & {
        *COMMANDS["generate"].parser()._option_string_actions
    }


def test_examples():
    assert doctest.testmod(sys.modules[Request.__module__]).failed == 0


# The same request, whoever asks


def from_command_line(*arguments: str) -> Request:
    return read_arguments(COMMANDS["generate"].parser().read([*arguments])).request


@pytest.mark.parametrize("name", SAMPLES)
def test_each_field_is_the_same_from_all_ways(name, files):
    value, text = SAMPLES[name]
    asked = Request(prompt="a", **{name: value})
    assert asked != Request(prompt="a")
    flag = f"--{name.replace('_', '-')}"
    assert from_command_line("a", flag, text) == asked
    same = replace(asked, **FOLDERS)
    assert Request.from_json(json.loads(json.dumps(asked.to_json()))) == same
    if name in ("upscale_steps", "upscale_strength", "upscaler"):
        asked = replace(asked, upscale=2)
    if name == "refiner_switch":
        asked = replace(asked, refiner="sdxl-base")
    if name not in NOT_IN_A_RECIPE | {"width", "height"}:
        stated = replace(asked, **BARE) if name in BARE else asked
        assert Request.from_recipe(read_text(write_text(asked.recipe()))) == stated


def test_all_fields_are_the_same_from_all_ways(files):
    values = {name: value for name, (value, _) in SAMPLES.items()}
    asked = Request(prompt="a\nb", **values)
    same = replace(asked, **FOLDERS)
    assert Request.from_json(json.loads(json.dumps(asked.to_json()))) == same
    words = [(f"--{name.replace('_', '-')}", text) for name, (_, text) in SAMPLES.items()]
    assert from_command_line("a\nb", *(word for pair in words for word in pair)) == asked

    # A recipe does not hold how many pictures there were, nor pictures.
    recipe = read_text(write_text(asked.recipe()))
    others = {name: values[name] for name in NOT_IN_A_RECIPE | BARE.keys()}
    assert Request.from_recipe(recipe) == replace(asked, strength=None, **LEFT_OUT | BARE)
    others["strength"] = values["strength"]  # and a picture has no second pass
    one_pass = replace(asked, **dict.fromkeys(larger.FIELDS))
    assert Request.from_recipe(recipe, **others, width=24, height=16) == one_pass


@given(requests())
@settings(max_examples=200)
def test_json_gives_back_the_request(request):
    request = replace(request, **FOLDERS)
    again = Request.from_json(json.loads(json.dumps(request.to_json())))
    assert again == request
    assert hash(again) == hash(request)


@given(requests())
@settings(max_examples=200)
def test_a_recipe_gives_back_the_request(request):
    sides = {"width": None, "height": None} if not (request.width and request.height) else {}
    known = replace(request, **LEFT_OUT, **sides)
    known = replace(known, negative_prompt=request.negative_prompt or None)
    assert Request.from_recipe(read_text(write_text(request.recipe()))) == known


@given(requests(), st.sampled_from([*SAMPLES]))
@settings(max_examples=50)
def test_requests_that_differ_in_a_field_are_not_equal(request, name):
    value, _ = SAMPLES[name]
    changed = replace(request, **{name: value})
    same = all(np.array_equal(getattr(changed, n), getattr(request, n)) for n in VALUES)
    assert (changed == request) == same
    assert (changed.to_json() == request.to_json()) == (same or name in FOLDERS)


def test_a_refiner_that_is_not_here_is_left_open(tmp_path):
    items = {"Refiner": "sd_xl_refiner_1.0 [7440042bbd]", "Refiner switch at": "0.6"}
    recipe = Recipe("a", "", items)
    assert Request.from_recipe(recipe) == Request(prompt="a")
    assert Request.unread(recipe).keys() >= {"Refiner"}
    known = Request.from_recipe(Recipe("a", "", items | {"Refiner": "sdxl-refiner"}))
    assert (known.refiner, known.refiner_switch) == ("sdxl-refiner", 0.6)


def test_a_request_can_be_hashed_pickled_and_read():
    request = Request(prompt="a", image=IMAGE, sampler_options={"rho": 5}, steps=3)
    again = pickle.loads(pickle.dumps(request))
    assert again == request
    assert {request: 1}[again] == 1
    assert repr(request) == (
        "Request(prompt='a', steps=3, sampler_options={'rho': 5}, image=(16, 24, 3))"
    )
    assert Request(prompt="a", image=IMAGE) != Request(prompt="a", image=255 - IMAGE)
    assert Request(prompt="a") != "a"


def test_a_sampler_of_ones_own():
    euler = find_sampler("euler")
    assert Request(prompt="a", sampler=euler) == Request(prompt="a", sampler="euler")
    own = Sampler("own", "Own", euler.function)
    request = Request(prompt="a", sampler=own)
    assert request.sampler is own
    assert hash(request) == hash(Request(prompt="a", sampler=own))
    assert request != Request(prompt="a", sampler="euler")
    assert request.completed(MODEL).plan(MODEL).steps == 4
    assert request.recipe().items["Sampler"] == "Own"
