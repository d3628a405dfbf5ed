"""ControlNets in whole pictures, against diffusers' pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import small_controlnets
import small_pipelines
import torch
from PIL import Image

from sfumato.stable_diffusion import StableDiffusion

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")

PROMPT, NEGATIVE = "a red apple on a table, oil painting", "blurry, blue"
STEPS = 4


class Pair:
    """A model of diffusers' and ours, with two ControlNets."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.nets = [small_controlnets.controlnet(kind, seed) for seed in (5, 6)]
        self.files = [
            str(small_controlnets.save(net, folder / f"control {i}"))
            for i, net in enumerate(self.nets)
        ]
        self.ours = StableDiffusion(64, 48, preset=str(small_pipelines.save(kind, folder)))
        self.plain = self.paint()

    def theirs(self, count: int, **settings: Any) -> np.ndarray:
        made = small_controlnets.pipeline(self.kind, self.nets[:count])
        prediction = made.scheduler.config.prediction_type
        made.scheduler = diffusers.EulerDiscreteScheduler(
            **small_pipelines.NOISE, prediction_type=prediction, timestep_spacing="linspace"
        )
        noise = small_pipelines.start_noise(1, 64, 48)
        pictures = [Image.fromarray(small_controlnets.picture(i)) for i in range(count)]
        with torch.no_grad():
            made = made(
                PROMPT,
                image=pictures if count > 1 else pictures[0],
                negative_prompt=NEGATIVE,
                height=64,
                width=48,
                num_inference_steps=STEPS,
                latents=torch.from_numpy(np.ascontiguousarray(noise.transpose(0, 3, 1, 2))),
                output_type="np",
                **{"guidance_scale": 7.5} | settings,
            )
        return np.round(made.images * 255).astype("int16")

    def paint(self, *settings: dict[str, Any], **fields: Any) -> np.ndarray:
        controls = [
            (file, small_controlnets.picture(i), options)
            for i, (file, options) in enumerate(zip(self.files, settings, strict=False))
        ]
        return self.ours.text_to_image(
            PROMPT,
            NEGATIVE,
            1,
            STEPS,
            fields.pop("guidance", 7.5),
            diffusion_noise=small_pipelines.start_noise(1, 64, 48),
            sampler="euler",
            schedule="uniform",
            verbose=False,
            controls=controls,
            **fields,
        ).astype("int16")

    def check(self, got: np.ndarray, expected: np.ndarray) -> None:
        assert got.shape == expected.shape
        assert np.abs(expected - self.plain).mean() > 5  # the ControlNets say something
        assert np.abs(got - expected).max() <= 1


@pytest.fixture(scope="module", params=["1.x", "xl"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(request.param, tmp_path_factory.mktemp("models"))


def test_one(pair: Pair) -> None:
    expected = pair.theirs(1, controlnet_conditioning_scale=0.8)
    pair.check(pair.paint({"weight": 0.8}), expected)


def test_two_at_once_for_parts_of_the_steps(pair: Pair) -> None:
    expected = pair.theirs(
        2,
        controlnet_conditioning_scale=[0.8, 0.5],
        control_guidance_start=[0.0, 0.3],
        control_guidance_end=[0.7, 1.0],
    )
    got = pair.paint({"weight": 0.8, "end": 0.7}, {"weight": 0.5, "start": 0.3})
    pair.check(got, expected)


def test_guess_mode(pair: Pair) -> None:
    """The negative prompt is answered without it, and the first maps count less."""
    expected = pair.theirs(1, controlnet_conditioning_scale=0.8, guess_mode=True)
    pair.check(pair.paint({"weight": 0.8, "mode": "guess"}), expected)
