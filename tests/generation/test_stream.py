"""One request, one stream: the new face, and that KerasCV's is the same thing by other names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sfumato
from sfumato import Picture, Request, StableDiffusion, Step, generation
from sfumato.finite import NotFiniteError
from sfumato.pictures import load, load_recipe
from sfumato.request import RequestError

PROMPT = "a red apple"
FEW = {"steps": 3, "seed": 5}


def test_steps_then_pictures(model: StableDiffusion) -> None:
    events = list(model.stream(PROMPT, count=2, sampler="heun", **FEW))
    steps, pictures = events[:3], events[3:]
    assert [(type(e), e.step, e.steps) for e in steps] == [(Step, i, 3) for i in (1, 2, 3)]
    assert steps[0].latents().shape == (2, 8, 6, 4)
    assert [type(e) for e in pictures] == [Picture, Picture]
    assert [p.request.seed for p in pictures] == [5, 6]
    assert all(p.pixels.shape == (64, 48, 3) and p.pixels.dtype == np.uint8 for p in pictures)


def test_a_stream_is_the_method_of_kerascv(model: StableDiffusion) -> None:
    pictures = model.generate(PROMPT, count=2, negative_prompt="green", guidance=4.0, **FEW)
    older = model.text_to_image(PROMPT, "green", 2, 3, 4.0, 5, verbose=False)
    assert np.array_equal([p.pixels for p in pictures], older)


def test_a_request_is_completed_and_painted_again(model: StableDiffusion) -> None:
    (picture,) = model.generate(Request(prompt=PROMPT, steps=3))
    request = picture.request
    assert None not in (request.seed, request.sampler, request.schedule, request.guidance)
    assert (request.height, request.width, request.count) == (64, 48, 1)
    (again,) = model.generate(Request.from_json(request.to_json()))
    assert np.array_equal(again.pixels, picture.pixels)
    assert again.request == request


def test_fields_come_before_those_of_the_request(model: StableDiffusion) -> None:
    completed = model.completed(Request(prompt=PROMPT, steps=3, seed=1), seed=2)
    assert (completed.steps, completed.seed) == (3, 2)


def test_one_model_serves_every_size(model: StableDiffusion, folder: Path) -> None:
    (other,) = model.generate(PROMPT, width=64, height=32, **FEW)
    own = StableDiffusion(32, 64, preset=str(folder))
    assert np.array_equal(own.generate(PROMPT, **FEW)[0].pixels, other.pixels)
    assert model.generate(PROMPT, **FEW)[0].pixels.shape == (64, 48, 3)
    wide = model.text_to_image(PROMPT, num_steps=1, width=64, height=32, verbose=False)
    assert wide.shape == (1, 32, 64, 3)


def test_pictures_from_pictures(model: StableDiffusion, tmp_path: Path) -> None:
    given = np.random.default_rng(0).integers(0, 256, (64, 48, 3)).astype("uint8")
    Image.fromarray(given).save(tmp_path / "given.png")
    expected = model.image_to_image(PROMPT, given, 0.7, None, 1, 4, seed=5, verbose=False)[0]
    for image in (given, tmp_path / "given.png", Image.fromarray(given)):
        (made,) = model.generate(PROMPT, image=image, strength=0.7, steps=4, seed=5)
        assert np.array_equal(made.pixels, expected)

    mask = np.zeros((64, 48), "uint8")
    mask[16:48, 16:32] = 255
    painted = model.inpaint(PROMPT, given, mask / 255, num_steps=3, seed=5, verbose=False)[0]
    (made,) = model.generate(PROMPT, image=given, mask=mask, **FEW)
    assert np.array_equal(made.pixels, painted)
    assert made.request.strength == 1.0


def test_leaving_the_loop_cancels(model: StableDiffusion) -> None:
    before = model.parts.decode
    seen = []
    for event in model.stream(PROMPT, steps=40, seed=1):
        seen.append(event.step)
        if event.step == 2:
            break
    assert seen == [1, 2]
    assert model.parts.decode is before


def test_requests_of_one_batch_differ_in_words_seeds_and_pictures(model: StableDiffusion) -> None:
    apple, boat = (model.completed(prompt, **FEW) for prompt in (PROMPT, "a blue boat"))
    together = [e for e in generation.stream(model.parts, [apple, boat]) if isinstance(e, Picture)]
    alone = model.generate(boat)
    assert np.abs(together[1].pixels.astype("int16") - alone[0].pixels).max() <= 1
    longer = model.completed(PROMPT, steps=4, seed=5)
    with pytest.raises(RequestError, match="differ in words, seeds and pictures only"):
        next(generation.stream(model.parts, [apple, longer]))


def test_options_of_samplers_and_schedules(model: StableDiffusion) -> None:
    plain = model.generate(PROMPT, sampler="euler_a", schedule="karras", **FEW)[0]
    without = {"eta": 0.0}
    still = model.generate(
        PROMPT, sampler="euler_a", schedule="karras", sampler_options=without, **FEW
    )[0]
    euler = model.generate(PROMPT, sampler="euler", schedule="karras", **FEW)[0]
    assert np.array_equal(still.pixels, euler.pixels)
    assert not np.array_equal(plain.pixels, euler.pixels)
    flat = model.generate(
        PROMPT, sampler="euler", schedule="karras", sampler_options={"rho": 1.0}, **FEW
    )[0]
    assert not np.array_equal(flat.pixels, euler.pixels)
    with pytest.raises(RequestError, match="`sampler_options` must"):
        model.generate(PROMPT, sampler="euler", sampler_options={"eta": 1.0})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "sd1.5"}, "`model` must be that of the loaded model"),
        ({"dtype": "bfloat16"}, "`dtype` must be that of the loaded model"),
        ({"quantize": "int8"}, "`quantize` must be that of the loaded model"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_request_for_another_model(model: StableDiffusion, fields: dict, message: str) -> None:
    with pytest.raises((RequestError, TypeError), match=message):
        model.generate(PROMPT, **fields)


def test_the_loaded_model_by_its_path_and_dtype(model: StableDiffusion, folder: Path) -> None:
    request = model.completed(PROMPT, model=str(folder), dtype="float32")
    assert request.recipe().items["Model"] == folder.name


def test_a_file_carries_the_request(model: StableDiffusion, tmp_path: Path) -> None:
    (picture,) = model.generate(PROMPT, negative_prompt="green", feature_reuse=2, **FEW)
    path = picture.save(tmp_path / "apple.png")
    assert np.array_equal(load(path), picture.pixels)
    assert Request.from_recipe(load_recipe(path)) == picture.request
    assert load_recipe(picture.save(tmp_path / "bare.png", recipe=False)) is None
    assert picture.to_pil().size == (48, 64)
    assert picture._repr_png_() == path.read_bytes()


def test_numbers_that_are_not_finite_end_the_stream(folder: Path) -> None:
    model = StableDiffusion(64, 48, preset=str(folder))
    model.diffusion_model.conv_out.bias.assign(np.full(4, np.nan))
    with pytest.raises(NotFiniteError, match="step 1 of 3"):
        list(model.stream(PROMPT, **FEW))


def test_previews_look_like_the_picture() -> None:
    """The colours of `mini`'s latents: its last preview is the picture, small."""
    model = sfumato.load("mini")
    *steps, picture = model.stream(PROMPT, steps=6, seed=3)
    preview = steps[-1].preview()
    assert preview is not None
    _, h, w, _ = preview.shape
    assert (preview.dtype, preview.shape) == (np.uint8, (1, 8, 8, 3))
    H, W, _ = picture.pixels.shape
    small = picture.pixels.reshape(h, H // h, w, W // w, 3).mean(axis=(1, 3))
    assert np.abs(preview[0] - small).mean() < 20
    assert np.abs(steps[0].preview()[0] - small).mean() > 20


def test_without_known_colours_there_is_no_preview(model: StableDiffusion) -> None:
    step = next(iter(model.stream(PROMPT, **FEW)))
    assert isinstance(step, Step)
    assert step.preview() is None
