"""The refiner of XL, which does the last steps of a picture, or paints from one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import small_pipelines
import torch
from diffusers import UNet2DConditionModel

from sfumato.generation import Step
from sfumato.request import RequestError
from sfumato.stable_diffusion import StableDiffusion

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")
PROMPT, NEGATIVE = "a red apple on a table", "blurry"
WIDTH = small_pipelines.TEXT_WIDTH
SAMPLERS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "dpmpp_2m": ("karras", diffusers.DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "euler": ("uniform", diffusers.EulerDiscreteScheduler, {"timestep_spacing": "linspace"}),
}


def refiner_pipeline() -> Any:
    """diffusers' pipeline of a small refiner."""
    parts = small_pipelines.pipeline("xl").components
    torch.manual_seed(1)
    unet = small_pipelines.UNET | small_pipelines.KINDS["xl"]
    unet |= {
        "cross_attention_dim": WIDTH,
        "projection_class_embeddings_input_dim": WIDTH + 5 * 256,
    }
    parts |= {"unet": UNet2DConditionModel(**unet), "text_encoder": None, "tokenizer": None}
    with torch.no_grad():
        parts["unet"].conv_out.weight.mul_(2)
    made = diffusers.StableDiffusionXLImg2ImgPipeline(
        **parts,
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    refiner_pipeline().save_pretrained(folder / "refiner")
    return small_pipelines.save("xl", folder), folder / "refiner"


@pytest.fixture(scope="module")
def base(folders: tuple[Path, Path]) -> StableDiffusion:
    return StableDiffusion(64, 48, preset=str(folders[0]))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("negative", [NEGATIVE, None])
def test_the_last_steps_are_the_refiners(
    base: StableDiffusion, folders: tuple[Path, Path], sampler: str, negative: str | None
) -> None:
    schedule, kind, options = SAMPLERS[sampler]
    scheduler = kind(**small_pipelines.NOISE, **options)
    first, second = small_pipelines.pipeline("xl"), refiner_pipeline()
    first.scheduler = second.scheduler = scheduler
    noise = small_pipelines.start_noise(1, 64, 48)
    settings: dict[str, Any] = {"num_inference_steps": 8, "guidance_scale": 5.0}
    with torch.no_grad():
        latents = first(
            PROMPT,
            negative_prompt=negative,
            height=64,
            width=48,
            denoising_end=0.6,
            latents=torch.from_numpy(noise.transpose(0, 3, 1, 2).copy()),
            output_type="latent",
            **settings,
        ).images
        expected = second(
            PROMPT,
            negative_prompt=negative,
            image=latents,
            denoising_start=0.6,
            output_type="np",
            **settings,
        ).images
    steps: list[Step] = []
    painted = base.text_to_image(
        PROMPT,
        negative,
        num_steps=8,
        unconditional_guidance_scale=5.0,
        diffusion_noise=noise,
        sampler=sampler,
        schedule=schedule,
        refiner=str(folders[1]),
        refiner_switch=0.6,
        on_step=steps.append,
        verbose=False,
    )
    assert np.abs(painted.astype(int) - np.round(255 * expected)).max() <= 1
    assert expected.std() > 0.02
    assert [(step.step, step.steps) for step in steps] == [(n, 8) for n in range(1, 9)]


def test_the_refiner_by_itself_paints_from_a_picture(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = StableDiffusion(64, 48, preset=str(folders[1])), refiner_pipeline()
    assert (ours.model.family.name, ours.text_encoder_2) == ("XL refiner", None)
    theirs.scheduler = diffusers.EulerDiscreteScheduler(
        **small_pipelines.NOISE, timestep_spacing="linspace"
    )
    picture = np.random.default_rng(5).integers(0, 256, (8, 6, 3)).repeat(8, 0).repeat(8, 1)
    noise = small_pipelines.start_noise(1, 64, 48)

    def draw(shape: Any, **_: Any) -> torch.Tensor:
        return torch.from_numpy(noise.transpose(0, 3, 1, 2).copy())

    module = diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_img2img
    monkeypatch.setattr(module, "randn_tensor", draw)
    distribution = diffusers.models.autoencoders.vae.DiagonalGaussianDistribution
    monkeypatch.setattr(distribution, "sample", lambda self, generator=None: self.mean)
    with torch.no_grad():
        expected = theirs(
            PROMPT,
            negative_prompt=NEGATIVE,
            image=torch.from_numpy(picture.transpose(2, 0, 1)[None] / 255).float(),
            strength=0.5,
            num_inference_steps=8,
            guidance_scale=5.0,
            output_type="np",
        ).images
    painted = ours.image_to_image(
        PROMPT,
        picture,
        0.5,
        NEGATIVE,
        num_steps=8,
        unconditional_guidance_scale=5.0,
        diffusion_noise=noise,
        sampler="euler",
        schedule="uniform",
        verbose=False,
    )
    assert np.abs(painted.astype(int) - np.round(255 * expected)).max() <= 1


def test_any_model_of_the_same_latents_may_go_on(
    base: StableDiffusion, folders: tuple[Path, Path]
) -> None:
    """The model itself goes on as if nothing had changed, words and noise included."""
    fields: dict[str, Any] = {"seed": 1, "steps": 6, "guidance": 3.0, "count": 2}
    for sampler in ("euler", "euler_a"):
        prompt = "a [red:green:0.9] apple"
        plain = base.generate(prompt, sampler=sampler, **fields)
        again = base.generate(prompt, sampler=sampler, refiner=str(folders[0]), **fields)
        for one, other in zip(plain, again, strict=True):
            np.testing.assert_allclose(one.pixels.astype(int), other.pixels, atol=1)
    items = again[0].request.recipe().items
    assert items["Refiner"] == "xl"


def test_what_cannot_be_refined(base: StableDiffusion, folders: tuple[Path, Path], folder) -> None:
    refiner = str(folders[1])
    with pytest.raises(RequestError, match="`refiner` must be given with `refiner_switch`"):
        base.completed(PROMPT, refiner_switch=0.5)
    for switch in (0.0001, 1.0):
        with pytest.raises(RequestError, match="`refiner_switch` must leave each model some"):
            base.completed(PROMPT, refiner=refiner, refiner_switch=switch, steps=4)
    with pytest.raises(RequestError, match="`refiner` must be a model for the latents"):
        base.generate(PROMPT, refiner=str(folder), steps=4)  # of 1.x: another scale
