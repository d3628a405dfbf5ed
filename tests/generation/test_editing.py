"""Models that edit a picture as the words say: InstructPix2Pix and CosXL-Edit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import small_pipelines
import torch

from sfumato.request import RequestError
from sfumato.stable_diffusion import StableDiffusion

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")
PROMPT, NEGATIVE = "make it blue", "blurry"
GIVEN = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8).repeat(8, 0).repeat(8, 1)
COSXL = {
    "sigma_max": 120.0,
    "sigma_data": 1.0,
    "prediction_type": "v_prediction",
    "sigma_schedule": "exponential",
}


def pipelines(kind: str, folder: Path) -> tuple[Any, StableDiffusion]:
    """diffusers' pipeline, and ours of the folder that it wrote."""
    parts = small_pipelines.pipeline("editing" if kind == "1.x" else "xl editing").components
    euler = diffusers.EulerDiscreteScheduler(**small_pipelines.NOISE, timestep_spacing="linspace")
    parts["scheduler"] = diffusers.EDMEulerScheduler(**COSXL) if kind == "CosXL" else euler
    if kind == "1.x":
        theirs = diffusers.StableDiffusionInstructPix2PixPipeline(
            **parts, requires_safety_checker=False
        )
    else:
        parts = {k: x for k, x in parts.items() if k not in ("image_encoder", "feature_extractor")}
        theirs = diffusers.StableDiffusionXLInstructPix2PixPipeline(
            **parts, add_watermarker=False, is_cosxl_edit=kind == "CosXL"
        )
    theirs.set_progress_bar_config(disable=True)
    theirs.save_pretrained(folder)
    return theirs, StableDiffusion(64, 48, preset=str(folder))


@pytest.mark.parametrize("kind", ["1.x", "XL", "CosXL"])
def test_the_picture_is_diffusers(kind: str, tmp_path: Path) -> None:
    theirs, ours = pipelines(kind, tmp_path)
    assert ours.model.edits_pictures
    noise = small_pipelines.start_noise(1, 64, 48)
    size = {} if kind == "1.x" else {"height": 64, "width": 48}
    for guidance, image_guidance in ((7.5, 1.5), (4.0, 3.0), (1.0, 1.5)):
        with torch.no_grad():
            expected = theirs(
                PROMPT,
                image=torch.from_numpy(GIVEN.transpose(2, 0, 1)[None] / 255).float(),
                negative_prompt=NEGATIVE if guidance > 1 else None,
                num_inference_steps=5,
                guidance_scale=guidance,
                image_guidance_scale=image_guidance,
                latents=torch.from_numpy(noise.transpose(0, 3, 1, 2).copy()),
                output_type="np",
                **size,
            ).images
        painted = ours.image_to_image(
            PROMPT,
            GIVEN,
            None,
            NEGATIVE if guidance > 1 else None,
            num_steps=5,
            unconditional_guidance_scale=guidance,
            image_guidance=image_guidance,
            diffusion_noise=noise,
            sampler="euler",
            schedule="exponential" if kind == "CosXL" else "uniform",
            verbose=False,
        )
        assert np.abs(painted.astype(int) - np.round(255 * expected)).max() <= 1
        assert expected.std() > 0.02


def test_a_request_for_a_model_that_edits(tmp_path: Path, model: StableDiffusion) -> None:
    _, ours = pipelines("1.x", tmp_path)
    request = ours.completed(PROMPT, image=GIVEN)
    assert (request.strength, request.image_guidance, request.guidance) == (1.0, 1.5, 7.5)
    assert request.recipe().items["Image CFG scale"] == "1.5"
    with pytest.raises(RequestError, match="`image` must be given for a model that edits"):
        ours.completed(PROMPT)
    with pytest.raises(RequestError, match="`image_guidance` must not be given for a model that"):
        model.completed(PROMPT, image=GIVEN, image_guidance=2.0)


def test_editing_with_everything_else(tmp_path: Path) -> None:
    """Masks, prompts joined by AND, perturbed attention, half of the steps guided, a batch."""
    _, ours = pipelines("1.x", tmp_path)
    fields: dict[str, Any] = {"image": GIVEN, "steps": 3, "seed": 1}

    def paint(prompt: str = PROMPT, **more: Any) -> np.ndarray:
        made = ours.generate(prompt, **fields | more)
        return np.stack([picture.pixels.astype(int) for picture in made])

    plain = paint()
    both = paint(count=2)
    assert np.abs(both[0] - plain[0]).max() <= 1
    assert np.abs(paint(seed=2)[0] - both[1]).max() <= 1
    assert np.abs(paint(f"{PROMPT} AND {PROMPT} :0") - plain).max() <= 1
    half = paint(guidance_interval=(0.0, 0.5))
    assert 0 < np.abs(half - plain).mean() < 20
    mask = np.zeros((64, 48), np.uint8)
    mask[:, 24:] = 255
    np.testing.assert_array_equal(paint(mask=mask)[0, :, :24], GIVEN[:, :24])
    assert np.abs(paint(pag_scale=2.0) - plain).max() > 0
    assert np.abs(paint(apg={"eta": 1, "momentum": 0, "norm_threshold": 0}) - plain).max() <= 1
