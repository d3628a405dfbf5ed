"""The second pass: what two requests by hand give, to the bit, and A1111's arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import sfumato
from sfumato import Picture, Request, StableDiffusion, Step
from sfumato.generation import begin, denoise, stream
from sfumato.pictures.recipe import Recipe, read_text, write_text
from sfumato.request import RequestError
from sfumato.request.larger import second

PROMPT = "a red apple"
FEW: dict[str, Any] = {"steps": 3, "seed": 5, "guidance": 3.0}


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler_a"])
@pytest.mark.parametrize("upscaler", ["lanczos", "esrgan"])
def test_it_is_two_requests_by_hand(model: StableDiffusion, sampler: str, upscaler: str) -> None:
    """4 steps of strength 0.6 are the last 4 of 6."""
    both = {"upscale": 1.5, "upscale_steps": 4, "upscale_strength": 0.6, "upscaler": upscaler}
    fields = {**FEW, "sampler": sampler, "negative_prompt": "green"}
    (picture,) = model.generate(PROMPT, **fields, **both)
    assert picture.pixels.shape == (96, 72, 3)

    small = model.generate(PROMPT, **fields)[0]
    large = sfumato.upscale(small, 1.5, upscaler).pixels
    later = {**fields, "steps": 6, "strength": 4.5 / 6, "image": large}
    assert np.array_equal(model.generate(PROMPT, **later)[0].pixels, picture.pixels)
    other = model.generate(PROMPT, **{**later, "strength": 1.0})[0].pixels
    assert not np.array_equal(other, picture.pixels)


def latents_of(model: StableDiffusion, request: Request, given: Any = None) -> np.ndarray:
    events = denoise(model.parts, begin(model.parts, [request], latents=given))
    while True:
        try:
            next(events)
        except StopIteration as stop:
            return stop.value


def test_latents_are_enlarged_without_being_decoded(model: StableDiffusion) -> None:
    request = model.completed(Request(prompt=PROMPT, upscale=1.5, upscale_strength=0.5, **FEW))
    assert request.upscaler == "latent"
    first = latents_of(model, request)
    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(first).permute(0, 3, 1, 2), (12, 9), mode="bilinear"
    )
    given = enlarged.permute(0, 2, 3, 1).numpy()
    later = latents_of(model, second(request, 8), given)
    pixels = model.generate(request)[0].pixels
    decoded = np.array(model.parts.decode(later)[0])[0]
    assert np.abs(decoded.astype(int) - pixels).max() <= 1


def test_a_picture_is_the_same_in_any_batch(model: StableDiffusion) -> None:
    fields = {**FEW, "upscale": 1.5, "upscaler": "bicubic", "upscale_steps": 2}
    pair = model.generate(PROMPT, count=2, **fields)
    (alone,) = model.generate(PROMPT, **{**fields, "seed": 6})
    assert pair[1].request == alone.request
    assert np.abs(pair[1].pixels.astype(int) - alone.pixels).max() <= 1


def test_steps_count_through_both_passes(model: StableDiffusion) -> None:
    events = list(model.stream(PROMPT, **FEW, upscale=1.5, upscale_steps=2))
    steps, (picture,) = events[:-1], events[-1:]
    assert [(e.step, e.steps) for e in steps if isinstance(e, Step)] == [
        (i, 5) for i in range(1, 6)
    ]
    assert [e.latents().shape[1:3] for e in steps] == [(8, 6)] * 3 + [(12, 9)] * 2
    assert isinstance(picture, Picture)
    assert (picture.request.height, picture.request.width) == (64, 48)


def test_it_can_be_left_in_the_second_pass(model: StableDiffusion) -> None:
    request = model.completed(Request(prompt=PROMPT, **FEW, upscale=1.5))
    events = stream(model.parts, [request])
    assert [next(events).step for _ in range(4)] == [1, 2, 3, 4]
    events.close()
    assert model.generate(PROMPT, **FEW)[0].pixels.shape == (64, 48, 3)


@pytest.mark.parametrize(
    ("requested", "strength", "total"),
    [(10, 0.5, 20), (10, 0.7, 14), (15, 0.55, 27), (1, 1.0, 1), (20, 1.0, 20), (7, 0.3, 23)],
)
def test_just_the_steps_asked_for_are_done(model, requested, strength, total):
    """A1111: as many steps as int(requested / min(strength, 0.999)), of which the last are done."""
    fields = {"upscale": 2, "upscale_steps": requested, "upscale_strength": strength}
    request = second(model.completed(Request(prompt=PROMPT, **fields)), 8)
    assert request.steps == total
    plan = request.plan(model.model)
    assert plan.steps == requested
    whole = Request(prompt="", steps=total).completed(model.model).plan(model.model)
    np.testing.assert_array_equal(plan.sigma, whole.sigma[-len(plan.sigma) :])


@pytest.mark.parametrize(("size", "upscale", "expected"), [(64, 1.3, 80), (72, 1.1, 72)])
def test_the_size_is_cut_to_whole_latents(model, size, upscale, expected):
    request = model.completed(Request(prompt="", width=size, height=64, upscale=upscale))
    assert second(request, 8).width == expected


def test_nothing_is_added_without_it(model: StableDiffusion) -> None:
    request = model.completed(Request(prompt=PROMPT, **FEW))
    assert not any("upscale" in name for name in request.given())
    assert not any("Hires" in key for key in request.recipe().items)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"upscale": 0.5}, "`upscale` must be a number from 1 to 8"),
        ({"upscale": 9}, "`upscale`"),
        ({"upscaler": "lanczos"}, "`upscale` must be given with `upscaler`"),
        ({"upscale_steps": 3}, "`upscale` must be given with `upscale_steps`"),
        ({"upscale": 2, "upscaler": "other"}, "`upscaler` must be one of latent, .*file"),
        ({"upscale": 2, "upscale_steps": 900, "upscale_strength": 0.5}, "`upscale_steps` must"),
        ({"upscale": 2, "upscale_strength": 0.0}, "`upscale_strength` must"),
        ({"upscale": 8, "width": 4096, "height": 4096}, "`upscale` must make a picture of at most"),
        (
            {"upscale": 2, "image": np.zeros((64, 48, 3), "uint8")},
            "`upscale` must not be given with a picture",
        ),
    ],
)
def test_what_cannot_be(model, fields, says):
    with pytest.raises(RequestError, match=says):
        model.completed(Request(**{"prompt": PROMPT, **fields}))


# --- recipes -------------------------------------------------------------------------------------

A1111 = """apple
Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 9, Size: 512x768, Denoising strength: 0.45, \
Hires upscale: 1.5, Hires steps: 12, Hires upscaler: Latent (nearest-exact), Version: v1.10.1"""


def test_a_recipe_of_a1111(model):
    request = Request.from_recipe(read_text(A1111))
    assert (request.upscale, request.upscale_steps, request.upscale_strength) == (1.5, 12, 0.45)
    assert request.upscaler == "latent_nearest_exact"
    assert request.strength is None
    items = model.completed(request.changed(width=64, height=64)).recipe().items
    stated = {key: items[key] for key in items if "Hires" in key or key == "Denoising strength"}
    assert stated == {
        "Hires upscale": "1.5",
        "Hires steps": "12",
        "Denoising strength": "0.45",
        "Hires upscaler": "Latent (nearest-exact)",
    }


@pytest.mark.parametrize("name", ["latent", "latent_bicubic_antialiased", "esrgan", "lanczos"])
def test_a_recipe_is_read_back(model, name):
    request = model.completed(Request(prompt="apple", upscale=2, upscaler=name))
    recipe = read_text(write_text(request.recipe()))
    assert Request.from_recipe(recipe) == request.changed(model=Request.from_recipe(recipe).model)
    assert Request.from_json(request.to_json()) == request


def test_a_second_pass_to_a_size_is_left_out():
    """A1111's other way to say it, whose steps and strength would mean nothing without it."""
    recipe = read_text(A1111.replace("Hires upscale: 1.5", "Hires resize: 768x1152"))
    request = Request.from_recipe(recipe)
    assert not {"upscale_steps", "upscaler", "strength"} & request.given().keys()
    assert Request.unread(recipe)["Hires resize"] == "768x1152"


def test_files_of_networks_are_named_by_their_user_alone(tmp_path):
    """A stranger's JSON names no file, and a recipe no folder."""
    (tmp_path / "4x-fine.pth").touch()
    request = Request(prompt="", upscale=2, upscaler=tmp_path / "4x-fine.pth")
    assert request.upscaler == str(tmp_path / "4x-fine.pth")
    assert request.recipe().items["Hires upscaler"] == "4x-fine"
    with pytest.raises(RequestError, match="upscaler"):
        Request.from_json(request.to_json())
    for name in ("R-ESRGAN 4x+", request.upscaler):
        recipe = Recipe("", "", {"Hires upscale": "2", "Hires upscaler": name})
        assert Request.from_recipe(recipe).upscaler is None
        assert Request.unread(recipe) == {"Hires upscaler": name}
        assert Request.from_recipe(recipe, upscaler="esrgan").upscaler == "esrgan"
