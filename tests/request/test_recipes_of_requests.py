"""Requests as recipes, of this program and of others."""

from __future__ import annotations

import pytest
from request_samples import IMAGE

from sfumato.pictures import Recipe
from sfumato.request import Request, RequestError


def test_a_recipe_of_another_program():
    items = {"Steps": "20", "Sampler": "DPM++ 2M Karras", "CFG scale": "7", "Seed": "1"}
    items |= {"Clip skip": "2", "Emphasis": "No norm"}
    others = {"Model hash": "45dee52b", "Version": "v1.10.1"}
    recipe = Recipe("a", "b", items | others | {"Size": "24x16", "Model": "v1-5-pruned"})
    assert Request.from_recipe(recipe) == Request(
        prompt="a",
        negative_prompt="b",
        clip_skip=2,
        emphasis="no_norm",
        width=24,
        height=16,
        seed=1,
        model="v1-5-pruned",
        steps=20,
        guidance=7,
        sampler="dpmpp_2m",
        schedule="karras",
    )
    assert Request.unread(recipe) == others


def test_changes_of_a_recipe():
    items = {"Steps": "0", "Sampler": "Euler", "Schedule type": "Beta", "Size": "24x16"}
    recipe = Recipe("a", "b", items)
    with pytest.raises(RequestError) as refused:
        Request.from_recipe(recipe)
    assert str(refused.value) == "`steps` must be a whole number from 1. Received: 0"
    assert Request.from_recipe(recipe, steps=3).schedule == "beta"
    changed = Request.from_recipe(recipe, steps=3, sampler="lms", negative_prompt=None, width=8)
    assert changed == Request(prompt="a", steps=3, sampler="lms", width=8, height=16)
    pictured = Request.from_recipe(recipe, steps=3, image=IMAGE)
    assert (pictured.width, pictured.height) == (None, None)
    with pytest.raises(RequestError, match="`Request` must have fields among"):
        Request.from_recipe(recipe, magic=1)


def test_a_second_pass_is_another_request():
    items = {"Steps": "2", "Denoising strength": "0.5"}
    assert Request.from_recipe(Recipe("a", "", items)).strength == 0.5
    hires = Recipe("a", "", items | {"Hires upscale": "2"})
    assert Request.from_recipe(hires).strength is None
    assert Request.from_recipe(hires).upscale == 2
    assert Request.from_recipe(hires).upscale_strength == 0.5
    assert Request.unread(hires) == {}


@pytest.mark.parametrize(
    "items",
    [
        {"Seed": "-1"},
        {"Sampler": "Default"},
        {"Sampler": "NONE", "Schedule type": "None"},
        {"Schedule type": "Automatic"},
        {"Clip skip": "-1"},
    ],
)
def test_a_choice_that_was_left_open_is_left_open(items):
    recipe = Recipe("a", "", items)
    assert Request.from_recipe(recipe) == Request(prompt="a")
    assert Request.unread(recipe) == {}
    for wrong in ({"Seed": "-2"}, {"Steps": "-1"}):
        with pytest.raises(RequestError):
            Request.from_recipe(Recipe("a", "", wrong))


@pytest.mark.parametrize(
    "items", [{"Sampler": "DPM fast"}, {"Schedule type": "x"}, {"Sampler": "x", "ENSD": "1"}]
)
def test_a_sampler_that_we_do_not_have_is_left_open_and_said(items):
    recipe = Recipe("a", "", items)
    assert Request.from_recipe(recipe) == Request(prompt="a")
    assert Request.unread(recipe) == items
    known = Recipe("a", "", items | {"Sampler": "DPM2 a Exponential", "Schedule type": "beta"})
    assert Request.from_recipe(known).sampler == "dpm2_a"
    assert Request.unread(known) == {k: v for k, v in items.items() if k == "ENSD"}


@pytest.mark.parametrize("size", ["8", "8x", "8x16x8", "-8x16", "9" * 5000 + "x8"])
def test_a_size_that_is_none_is_not_read(size):
    recipe = Recipe("a", "", {"Size": size})
    assert Request.from_recipe(recipe) == Request(prompt="a")
    assert Request.unread(recipe) == {"Size": size}


def test_a_recipe_of_a_local_model_keeps_its_folder_to_itself(tmp_path):
    for name, public in (("own", "own"), ("sd1.5", "./sd1.5")):
        (tmp_path / name).mkdir()
        items = Request(prompt="a", model=str(tmp_path / name)).recipe().items
        assert items["Model"] == public
    for name in ("sd1.5", "someone/something", "~nobody-here/x", "x" * 999, "\0"):
        assert Request(prompt="a", model=name).recipe().items["Model"] == name
