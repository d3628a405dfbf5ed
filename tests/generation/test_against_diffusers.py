"""Whole pictures against diffusers' pipelines: the same weights, prompts and start noise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import small_pipelines
import torch
from diffusers import callbacks

from sfumato.stable_diffusion import StableDiffusion

# What diffusers itself warns of is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")

PROMPT, NEGATIVE = "a red apple on a table, oil painting", "blurry, blue"
STEPS = 6
SAMPLERS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "dpmpp_2m": ("karras", diffusers.DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "euler": ("uniform", diffusers.EulerDiscreteScheduler, {"timestep_spacing": "linspace"}),
    "ddim": (
        "leading",
        diffusers.DDIMScheduler,
        {"timestep_spacing": "leading", "steps_offset": 1, "clip_sample": False},
    ),
}


@pytest.fixture(scope="module", params=["1.x", "2.x", "xl"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """diffusers' pipeline and ours, loaded from the folder that it wrote."""
    folder = small_pipelines.save(request.param, tmp_path_factory.mktemp("models"))
    theirs = small_pipelines.pipeline(request.param)
    return theirs, StableDiffusion(64, 48, preset=str(folder))


def compare(pair: Any, sampler: str, count: int = 1, **settings: Any) -> None:
    theirs, ours = pair
    schedule, kind, options = SAMPLERS[sampler]
    prediction = theirs.scheduler.config.prediction_type
    theirs.scheduler = kind(**small_pipelines.NOISE, prediction_type=prediction, **options)
    noise = small_pipelines.start_noise(count, 64, 48)
    guidance = settings.get("guidance", 7.5)
    fewer = settings.get("fewer", {})  # our options that save work
    rescale = settings.get("rescale", 0.0)
    negative = settings.get("negative")
    with torch.no_grad():
        expected = theirs(
            [PROMPT] * count,
            negative_prompt=None if negative is None else [negative] * count,
            height=64,
            width=48,
            num_inference_steps=STEPS,
            guidance_scale=guidance,
            guidance_rescale=rescale,
            latents=torch.from_numpy(np.ascontiguousarray(noise.transpose(0, 3, 1, 2))),
            output_type="np",
            callback_on_step_end=settings.get("callback"),
        ).images
    got = ours.text_to_image(
        PROMPT,
        negative,
        count,
        STEPS,
        guidance,
        diffusion_noise=noise,
        sampler=sampler,
        schedule=schedule,
        guidance_rescale=rescale,
        verbose=False,
        **fewer,
    )
    expected = np.round(expected * 255).astype("int16")
    assert got.shape == expected.shape == (count, 64, 48, 3)
    assert expected.std() > 10  # a picture, not a plain surface
    difference = np.abs(got - expected)
    assert difference.max() <= 2
    assert np.mean(difference <= 1) >= 0.999


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers(pair: Any, sampler: str) -> None:
    compare(pair, sampler, negative=NEGATIVE)


def test_without_negative_prompt(pair: Any) -> None:
    compare(pair, "dpmpp_2m")


def test_without_guidance(pair: Any) -> None:
    compare(pair, "dpmpp_2m", guidance=1.0)


def test_guidance_rescale(pair: Any) -> None:
    compare(pair, "euler", rescale=0.7, guidance=12.0, negative=NEGATIVE)


def test_several_pictures(pair: Any) -> None:
    compare(pair, "dpmpp_2m", count=2, negative=NEGATIVE)


def test_sizes_of_another_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The width of the sinusoids of XL's sizes is that of the folder, not always 256."""
    width = {
        "addition_time_embed_dim": 16,
        "projection_class_embeddings_input_dim": small_pipelines.TEXT_WIDTH + 6 * 16,
    }
    monkeypatch.setitem(small_pipelines.KINDS, "xl", small_pipelines.KINDS["xl"] | width)
    folder = small_pipelines.save("xl", tmp_path)
    ours = StableDiffusion(64, 48, preset=str(folder))
    compare((small_pipelines.pipeline("xl"), ours), "euler", negative=NEGATIVE)


def cut_off(pair: Any, step: int) -> Any:
    """diffusers' own callback, which ends guidance after a step."""
    xl = pair[1].text_encoder_2 is not None
    kind = callbacks.SDXLCFGCutoffCallback if xl else callbacks.SDCFGCutoffCallback
    return kind(cutoff_step_ratio=None, cutoff_step_index=step)


@contextmanager
def reused(unet: Any, every: int) -> Iterator[None]:
    """Let the last block see the deep features of an earlier call, computed anew when the batch
    changes: DeepCache, but for the time."""
    block = unet.up_blocks[-1].resnets[-1]
    width = block.in_channels - unet.conv_in.out_channels
    kept: dict[str, Any] = {"age": 0, "deep": torch.zeros(0)}

    def swap(_: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        x, *rest = arguments
        kept["age"] += 1
        if kept["age"] >= every or len(kept["deep"]) != len(x):
            kept.update(age=0, deep=x[:, :width])
        return (torch.cat([kept["deep"], x[:, width:]], 1), *rest)

    hook = block.register_forward_pre_hook(swap)
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler"])
def test_guidance_interval(pair: Any, sampler: str) -> None:
    fewer = {"guidance_interval": (0.0, 0.5)}
    callback = cut_off(pair, STEPS // 2 - 1)
    compare(pair, sampler, negative=NEGATIVE, callback=callback, fewer=fewer)


@pytest.mark.parametrize("guidance", [1.0, 7.5])
def test_feature_reuse(pair: Any, guidance: float) -> None:
    with reused(pair[0].unet, 3):
        compare(pair, "dpmpp_2m", guidance=guidance, fewer={"feature_reuse": 3})


def test_feature_reuse_where_guidance_ends(pair: Any) -> None:
    fewer = {"feature_reuse": 4, "guidance_interval": (0.0, 0.4)}
    with reused(pair[0].unet, 4):
        compare(pair, "ddim", callback=cut_off(pair, 1), fewer=fewer)


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_image_to_image(pair: Any, strength: float) -> None:
    """From a picture, at a strength: the encoder, the tail of the schedule, the start noise."""
    theirs, ours = pair
    if ours.text_encoder_2 is not None:
        kind = diffusers.StableDiffusionXLImg2ImgPipeline
        parts = dict(theirs.components)
    else:
        kind = diffusers.StableDiffusionImg2ImgPipeline
        parts = {**theirs.components, "requires_safety_checker": False}
    prediction = theirs.scheduler.config.prediction_type
    options = {"prediction_type": prediction, "timestep_spacing": "linspace"}
    parts["scheduler"] = diffusers.EulerDiscreteScheduler(**small_pipelines.NOISE, **options)
    pipeline = kind(**parts)
    pipeline.set_progress_bar_config(disable=True)
    picture = np.random.default_rng(5).integers(0, 256, (8, 6, 3)).repeat(8, 0).repeat(8, 1)
    noise = small_pipelines.start_noise(1, 64, 48)

    def draw(shape: Any, **_: Any) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(noise.transpose(0, 3, 1, 2)))

    module = __import__(kind.__module__, fromlist=["randn_tensor"])
    original, module.randn_tensor = module.randn_tensor, draw
    distribution = diffusers.models.autoencoders.vae.DiagonalGaussianDistribution
    sample, distribution.sample = distribution.sample, lambda self, generator=None: self.mean
    try:
        with torch.no_grad():
            expected = pipeline(
                PROMPT,
                image=torch.from_numpy(picture.transpose(2, 0, 1)[None] / 255).float(),
                strength=strength,
                num_inference_steps=10,
                guidance_scale=5.0,
                negative_prompt=NEGATIVE,
                output_type="np",
            ).images
    finally:
        module.randn_tensor, distribution.sample = original, sample
    got = ours.image_to_image(
        PROMPT,
        picture,
        strength,
        NEGATIVE,
        1,
        10,
        5.0,
        diffusion_noise=noise,
        sampler="euler",
        schedule="uniform",
        verbose=False,
    )
    difference = np.abs(got - np.round(expected * 255).astype("int16"))
    assert difference.max() <= 1
