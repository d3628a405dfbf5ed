"""Pictures from pictures: laws, and diffusers' pipeline for inpainting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import small_pipelines
import torch
from PIL import Image

from sfumato.generation import Picture, begin, stream
from sfumato.pictures import load, load_recipe
from sfumato.request import Request, RequestError
from sfumato.stable_diffusion import StableDiffusion

PROMPT = "a red apple"
NEGATIVE = "green"
GIVEN = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8).repeat(8, 0).repeat(8, 1)
LARGE = np.random.default_rng(1).integers(0, 256, (150, 211, 3), np.uint8)
FEW = {"steps": 3, "seed": 5}


def box(shape: tuple[int, ...], top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros(shape[:2], np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


def paint(model: StableDiffusion, **fields: Any) -> np.ndarray:
    return model.generate(PROMPT, **FEW | fields)[0].pixels


# --- laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "euler_a"])
def test_a_white_mask_at_full_strength_is_text_to_image(
    model: StableDiffusion, sampler: str
) -> None:
    white = np.full((64, 48), 255, np.uint8)
    painted = paint(model, image=GIVEN, mask=white, sampler=sampler)
    np.testing.assert_array_equal(painted, paint(model, sampler=sampler))
    weaker = paint(model, image=GIVEN, mask=white, sampler=sampler, strength=0.7)
    np.testing.assert_array_equal(weaker, paint(model, image=GIVEN, sampler=sampler, strength=0.7))


@pytest.mark.parametrize("area", ["whole", "masked"])
def test_a_black_mask_gives_back_the_picture(model: StableDiffusion, area: str) -> None:
    image = GIVEN if area == "whole" else LARGE
    black = np.zeros(image.shape[:2], np.uint8)
    painted = paint(model, image=image, mask=black, mask_blur=3, inpaint_area=area)
    np.testing.assert_array_equal(painted, image)


def test_at_zero_snr_full_strength_is_text_to_image(tmp_path: Path) -> None:
    """The first noise level drowns any picture."""
    folder = small_pipelines.save("2.x", tmp_path)
    scheduler = folder / "scheduler/scheduler_config.json"
    settings = json.loads(scheduler.read_text()) | {"rescale_betas_zero_snr": True}
    scheduler.write_text(json.dumps(settings))
    zero = StableDiffusion(64, 48, preset=str(folder))
    words = paint(zero, sampler="ddim", schedule="trailing").astype("int16")
    for image in (GIVEN, 255 - GIVEN):
        fields = {"sampler": "ddim", "schedule": "trailing", "image": image}
        assert np.abs(paint(zero, **fields, strength=1) - words).max() <= 1
    assert np.abs(paint(zero, **fields, strength=0.7) - words).mean() > 3


# --- the masked area -----------------------------------------------------------------------------


def test_the_masked_area_is_painted_at_the_models_size(model: StableDiffusion) -> None:
    mask = box(LARGE.shape, 40, 70, 100, 121)
    masked = {"image": LARGE, "mask": mask, "inpaint_area": "masked", "padding": 9}
    (picture,) = model.generate(PROMPT, **FEW, **masked)
    assert (picture.request.height, picture.request.width) == (64, 48)
    assert picture.pixels.shape == LARGE.shape
    np.testing.assert_array_equal(picture.pixels[mask == 0], LARGE[mask == 0])
    assert np.mean(picture.pixels[mask == 255] != LARGE[mask == 255]) > 0.9

    # It is what is painted on that part alone: the mask, 9 pixels around it, made 4 : 3.
    region = (slice(29, 81), slice(91, 130))
    part = Image.fromarray(LARGE[region]).resize((48, 64), Image.Resampling.LANCZOS)
    own = Image.fromarray(mask[region]).resize((48, 64), Image.Resampling.BILINEAR)
    alone = paint(model, image=part, mask=own)
    back = np.array(Image.fromarray(alone).resize((39, 52), Image.Resampling.LANCZOS))
    within = (slice(16, 36), slice(14, 25))  # of the region, away from the mask's edge
    np.testing.assert_array_equal(picture.pixels[region][within], back[within])


def test_a_model_for_inpainting_sees_no_half_covered_pixels(tmp_path: Path) -> None:
    model = StableDiffusion(64, 48, preset=str(small_pipelines.save("inpainting", tmp_path)))
    soft = np.full((64, 48), 120, np.uint8)
    soft[:, 20:28] = [140, 160, 180, 200, 220, 240, 255, 255]
    shown = [
        begin(model.parts, [model.completed(PROMPT, image=GIVEN, mask=mask, **FEW)])
        for mask in (soft, box(GIVEN.shape, 0, 64, 20, 28))
    ]
    np.testing.assert_array_equal(shown[0].aids.channels, shown[1].aids.channels)
    np.testing.assert_array_equal(shown[0].aids.channels[0, 0, :, 0], [0, 0, 1, 1, 0, 0])


def test_pictures_of_a_batch_have_masked_areas_of_their_own(model: StableDiffusion) -> None:
    masks = [box(LARGE.shape, 10, 30, 10, 30), box(LARGE.shape, 100, 140, 150, 200)]
    fields = {"image": LARGE, "inpaint_area": "masked", **FEW}
    asked = [model.completed(PROMPT, mask=mask, **fields) for mask in masks]
    made = [event for event in stream(model.parts, asked) if isinstance(event, Picture)]
    for picture, mask in zip(made, masks, strict=True):
        np.testing.assert_array_equal(picture.pixels[mask == 0], LARGE[mask == 0])
        alone = paint(model, **fields, mask=mask).astype(int)
        assert np.abs(alone - picture.pixels).max() <= 1


# --- other sizes ---------------------------------------------------------------------------------


def test_outpainting(model: StableDiffusion) -> None:
    (picture,) = model.generate(PROMPT, image=GIVEN, extend={"left": 16, "top": 8}, **FEW)
    assert picture.pixels.shape == (72, 64, 3)
    np.testing.assert_array_equal(picture.pixels[8:, 16:], GIVEN)
    assert len(np.unique(picture.pixels[:8].reshape(-1, 3), axis=0)) > 50
    mask = np.zeros((72, 64), np.uint8)
    mask[:8] = mask[:, :16] = 255
    edges = np.pad(GIVEN, ((8, 0), (16, 0), (0, 0)), "edge")
    np.testing.assert_array_equal(picture.pixels, paint(model, image=edges, mask=mask))


def test_a_picture_of_any_size_is_resized(model: StableDiffusion) -> None:
    with pytest.raises(RequestError, match="`resize` be crop, fill or stretch"):
        paint(model, image=LARGE)
    for resize in ("crop", "fill", "stretch"):
        fields = {"image": LARGE, "resize": resize, "strength": 0.4}
        painted = paint(model, width=48, height=64, **fields)
        assert painted.shape == (64, 48, 3)
    assert model.completed(PROMPT, **fields).height == 144
    one = paint(model, image=np.zeros((1, 1, 3)), resize="fill", width=48, height=64)
    assert one.shape == (64, 48, 3)


def test_a_picture_is_made_again_from_its_recipe(model: StableDiffusion, tmp_path: Path) -> None:
    Image.fromarray(LARGE).save(tmp_path / "photo.png")
    asked = {
        "image": tmp_path / "photo.png",
        "mask": box(LARGE.shape, 40, 70, 100, 120),
        "mask_blur": 2,
        "inpaint_area": "masked",
        "padding": 20,
        "extend": {"left": 5},
    }
    (picture,) = model.generate(PROMPT, **asked, **FEW)
    recipe = load_recipe(picture.save(tmp_path / "made.png"))
    assert recipe is not None
    assert recipe.items["Image"] == "photo.png"
    again = Request.from_recipe(recipe, image=asked["image"], mask=asked["mask"], model=None)
    np.testing.assert_array_equal(model.generate(again)[0].pixels, load(tmp_path / "made.png"))


# --- diffusers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("kind", ["1.x", "inpainting", "xl inpainting"])
def test_inpainting_is_that_of_diffusers(
    kind: str, strength: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four channels: the known part comes back at each step; nine: the network is shown it."""
    theirs = small_pipelines.pipeline(kind)
    theirs.save_pretrained(tmp_path)
    ours = StableDiffusion(64, 48, preset=str(tmp_path))
    noise = small_pipelines.start_noise(1, 64, 48)
    mask = box(GIVEN.shape, 16, 48, 8, 32)
    options = {"timestep_spacing": "linspace", "steps_offset": 1}  # an offset it asks for
    scheduler = diffusers.EulerDiscreteScheduler(**small_pipelines.NOISE, **options)
    parts = {**theirs.components, "scheduler": scheduler}
    if kind.startswith("xl"):
        inpaint = diffusers.StableDiffusionXLInpaintPipeline(**parts)
    else:
        inpaint = diffusers.StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)
    inpaint.set_progress_bar_config(disable=True)

    def draw(shape: Any, **_: Any) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(noise.transpose(0, 3, 1, 2)))

    module = __import__(type(inpaint).__module__, fromlist=["randn_tensor"])
    monkeypatch.setattr(module, "randn_tensor", draw)
    distribution = diffusers.models.autoencoders.vae.DiagonalGaussianDistribution
    monkeypatch.setattr(distribution, "sample", lambda self, generator=None: self.mean)
    with torch.no_grad():
        expected = inpaint(
            PROMPT,
            image=Image.fromarray(GIVEN),
            mask_image=Image.fromarray(mask),
            height=64,
            width=48,
            strength=strength,
            num_inference_steps=10,
            guidance_scale=5.0,
            negative_prompt=NEGATIVE,
            output_type="np",
        ).images
    got = ours.inpaint(
        PROMPT,
        GIVEN,
        mask / 255,
        negative_prompt=NEGATIVE,
        num_steps=10,
        unconditional_guidance_scale=5.0,
        diffusion_noise=noise,
        strength=strength,
        sampler="euler",
        schedule="uniform",
        verbose=False,
    )
    difference = np.abs(got.astype("int16") - np.round(expected * 255).astype("int16"))
    within = difference[:, mask == 255]
    assert within.max() <= 1
