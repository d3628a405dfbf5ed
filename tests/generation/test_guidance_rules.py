"""FreeU, perturbed attention and projected guidance against diffusers, and their laws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import small_pipelines
import torch
from diffusers.guiders import AdaptiveProjectedGuidance

from sfumato.diffusion.denoisers import project
from sfumato.networks.freeu import balanced
from sfumato.stable_diffusion import StableDiffusion

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")

PROMPT, NEGATIVE = "a red apple", "green"
NOISE = small_pipelines.start_noise(1, 64, 48)
SCHEDULE = {"timestep_spacing": "leading", "steps_offset": 1, "clip_sample": False}
FEW = {"steps": 3, "seed": 5}


def channels_first(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def theirs(pipeline: Any, guidance: float = 7.5, **options: Any) -> np.ndarray:
    settings = {**small_pipelines.NOISE, **SCHEDULE}
    prediction = pipeline.scheduler.config.prediction_type
    pipeline.scheduler = diffusers.DDIMScheduler(**settings, prediction_type=prediction)
    pipeline.set_progress_bar_config(disable=True)
    options |= {"num_inference_steps": 4, "output_type": "np", "height": 64, "width": 48}
    options |= {"guidance_scale": guidance, "latents": channels_first(NOISE)}
    with torch.no_grad():
        return pipeline(PROMPT, negative_prompt=NEGATIVE, **options).images[0] * 255


def ours(model: StableDiffusion, guidance: float = 7.5, **fields: Any) -> np.ndarray:
    settings = {"sampler": "ddim", "schedule": "leading", "verbose": False} | fields
    negative = NEGATIVE if guidance > 1 else None
    words = (PROMPT, negative, 1, 4, guidance)
    return model.text_to_image(*words, diffusion_noise=NOISE, **settings)[0]


def paint(model: StableDiffusion, **fields: Any) -> np.ndarray:
    return model.generate(fields.pop("prompt", PROMPT), **FEW | fields)[0].pixels.astype("int16")


# --- FreeU ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["1.x", "xl"])
def test_freeu_with_a_familys_own_numbers(kind: str, tmp_path: Path) -> None:
    published = {"1.x": (1.5, 1.6), "xl": (1.3, 1.4)}[kind]
    pipeline = small_pipelines.pipeline(kind)
    pipeline.enable_freeu(s1=0.9, s2=0.2, b1=published[0], b2=published[1])
    model = StableDiffusion(64, 48, preset=str(small_pipelines.save(kind, tmp_path)))
    made = ours(model, freeu="on")
    assert np.abs(made - np.round(theirs(pipeline))).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(8, 6), (5, 3), (1, 2), (1, 1)])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_filter_of_freeu(height: int, width: int, level: int) -> None:
    from diffusers.utils.torch_utils import apply_freeu

    x, skip = np.random.default_rng(level).standard_normal((2, 2, height, width, 6), "float32")
    s1, s2, b1, b2 = 0.9, 0.2, 1.5, 1.6
    expected = apply_freeu(
        level, channels_first(x).clone(), channels_first(skip), s1=s1, s2=s2, b1=b1, b2=b2
    )
    got = balanced(x, skip, np.array([s1, s2, b1, b2], "float32"), level)
    for mine, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(np.moveaxis(mine, -1, 1), other, atol=1e-5)


# --- perturbed attention -------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "guidance"), [("1.x", 1.0), ("1.x", 5.0), ("xl", 5.0)])
def test_perturbed_attention(kind: str, guidance: float, tmp_path: Path) -> None:
    parts = small_pipelines.pipeline(kind).components
    if kind == "xl":
        pipeline = diffusers.StableDiffusionXLPAGPipeline(**parts, add_watermarker=False)
    else:
        pipeline = diffusers.StableDiffusionPAGPipeline(**parts, requires_safety_checker=False)
    model = StableDiffusion(64, 48, preset=str(small_pipelines.save(kind, tmp_path)))
    rescale = 0.5 if guidance > 1 else 0.0
    expected = theirs(pipeline, guidance, pag_scale=3.0, guidance_rescale=rescale)
    made = ours(model, guidance, pag_scale=3.0, guidance_rescale=rescale)
    assert np.abs(made - np.round(expected)).max() <= 1


# --- projected guidance --------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [(0.0, -0.75, 7.5), (1.0, 0.0, 0.0), (0.3, 0.5, 1000.0)])
def test_projected_guidance_is_that_of_diffusers(settings: tuple[float, float, float]) -> None:
    guider = guide_of(6.5, settings)
    random = np.random.default_rng(0)
    average = np.zeros((2, 8, 6, 4), "float32")
    for step in range(3):
        cond, uncond = random.standard_normal((2, 2, 8, 6, 4), "float32")
        expected = guided_by(guider, step, channels_first(cond), channels_first(uncond))
        direction, average = project(cond, cond - uncond, np.array(settings, "float32"), average)
        got = cond + (6.5 - 1) * np.asarray(direction)
        np.testing.assert_allclose(np.moveaxis(got, -1, 1), expected, atol=1e-4)


def guide_of(scale: float, settings: tuple[float, float, float]) -> Any:
    """The paper adds to the answer for the prompt, so its scale is less by one."""
    eta, momentum, threshold = settings
    return AdaptiveProjectedGuidance(
        scale - 1,
        adaptive_projected_guidance_momentum=momentum,
        adaptive_projected_guidance_rescale=threshold,
        eta=eta,
        use_original_formulation=True,
    )


def guided_by(guider: Any, step: int, cond: torch.Tensor, uncond: torch.Tensor) -> torch.Tensor:
    guider.set_state(step=step, num_inference_steps=4, timestep=torch.tensor(0))
    guider.prepare_inputs({"unused": (cond, uncond)})
    return guider.forward(cond, uncond).pred


@pytest.mark.parametrize("kind", ["1.x", "2.x"])
def test_pictures_by_projected_guidance(kind: str, tmp_path: Path) -> None:
    """diffusers' rule on the pictures that its network sees, as the paper has it."""
    pipeline = small_pipelines.pipeline(kind)
    model = StableDiffusion(64, 48, preset=str(small_pipelines.save(kind, tmp_path)))
    settings = (0.0, -0.75, 7.5)
    guider, unet = guide_of(9.0, settings), pipeline.unet
    plain = diffusers.EulerDiscreteScheduler(**small_pipelines.NOISE, timestep_spacing="linspace")
    plain.set_timesteps(4)
    velocity = pipeline.scheduler.config.prediction_type == "v_prediction"
    with torch.no_grad():
        text, none = pipeline.encode_prompt(PROMPT, "cpu", 1, True, NEGATIVE)
        x = channels_first(NOISE) * plain.sigmas[0]
        for i, timestep in enumerate(plain.timesteps):
            sigma = plain.sigmas[i]
            scale = (sigma**2 + 1) ** -0.5
            answers = [unet(x * scale, timestep, words).sample for words in (text, none)]
            seen = [
                x * scale**2 - answer * sigma * scale if velocity else x - sigma * answer
                for answer in answers
            ]
            guided = guided_by(guider, i, *seen)
            x = x + (x - guided) / sigma * (plain.sigmas[i + 1] - sigma)
        picture = pipeline.vae.decode(x / pipeline.vae.config.scaling_factor).sample[0]
    expected = np.round(((picture / 2 + 0.5).clip(0, 1) * 255).permute(1, 2, 0).numpy())
    made = ours(model, 9.0, sampler="euler", schedule="uniform", apg="on")
    assert np.abs(made - expected).max() <= 1


# --- laws ----------------------------------------------------------------------------------------


def test_rules_that_change_nothing(model: StableDiffusion) -> None:
    usual = paint(model)
    assert np.abs(paint(model, freeu=(1, 1, 1, 1)) - usual).max() <= 1
    assert np.abs(paint(model, apg=(1, 0, 0)) - usual).max() <= 1
    known = {*model.parts.evaluate.executables}
    for rule in ({"freeu": "on"}, {"apg": "on"}):  # other numbers, by the same program
        assert np.abs(paint(model, **rule) - usual).max() > 10
    assert {*model.parts.evaluate.executables} == known


def test_all_rules_together_in_a_batch_and_alone(model: StableDiffusion) -> None:
    words = "a red apple AND a tree :0.7"
    rules = {"pag_scale": 2.0, "apg": "on", "freeu": {"b1": 1.2}, "guidance_rescale": 0.3}
    # Of three steps: with guidance, the same with features of the first, without guidance.
    fewer = {"guidance_interval": (0.0, 0.6), "feature_reuse": 2, "token_merging": 0.3}
    together = model.generate(words, count=2, **FEW, **rules, **fewer)
    for picture in together:
        alone = model.generate(picture.request)[0]
        assert np.abs(alone.pixels.astype(int) - picture.pixels).max() <= 1
    assert together[0].request.freeu == {"s1": 0.9, "s2": 0.2, "b1": 1.2, "b2": 1.6}
    assert together[0].request.apg == {"eta": 0, "momentum": -0.75, "norm_threshold": 7.5}
