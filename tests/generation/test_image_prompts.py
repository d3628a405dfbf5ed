"""Pictures as prompts in whole pictures, against diffusers' pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import small_ip_adapters
import small_pipelines
import torch
from PIL import Image

from sfumato.checkpoints.tensors import CheckpointError
from sfumato.request import Request
from sfumato.stable_diffusion import StableDiffusion

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

PROMPT, NEGATIVE = "a red apple on a table, oil painting", "blurry, blue"
STEPS = 3
KINDS = ("base", "plus", "full")


def picture(seed: int = 0, height: int = 50, width: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype("uint8")


class Pair:
    """A model of diffusers' and ours, with IP-Adapters of each kind."""

    def __init__(self, family: str, folder: Path) -> None:
        self.folder = folder
        self.made = small_pipelines.pipeline(family)
        unet = self.made.unet
        self.files = {kind: small_ip_adapters.save(unet, kind, folder) for kind in KINDS}
        self.made.scheduler = diffusers.EulerDiscreteScheduler(
            **small_pipelines.NOISE, timestep_spacing="linspace"
        )
        self.ours = StableDiffusion(64, 48, preset=str(small_pipelines.save(family, folder)))
        self.plain = self.paint()

    def theirs(self, *prompts: tuple[str, float], guidance: float = 7.5) -> np.ndarray:
        names = [self.files[kind].name for kind, _ in prompts]
        self.made.load_ip_adapter(str(self.folder), subfolder="", weight_name=names)
        self.made.set_ip_adapter_scale([weight for _, weight in prompts])
        noise = small_pipelines.start_noise(1, 64, 48)
        with torch.no_grad():
            made = self.made(
                PROMPT,
                negative_prompt=NEGATIVE,
                ip_adapter_image=[Image.fromarray(picture(i)) for i in range(len(prompts))],
                height=64,
                width=48,
                num_inference_steps=STEPS,
                guidance_scale=guidance,
                latents=torch.from_numpy(np.ascontiguousarray(noise.transpose(0, 3, 1, 2))),
                output_type="np",
            )
        self.made.unload_ip_adapter()
        return np.round(made.images * 255).astype("int16")

    def paint(self, *prompts: tuple[str, float], guidance: float = 7.5) -> np.ndarray:
        given = [(self.files[kind], picture(i), w) for i, (kind, w) in enumerate(prompts)]
        return self.ours.text_to_image(
            PROMPT,
            NEGATIVE if guidance > 1 else None,
            1,
            STEPS,
            guidance,
            diffusion_noise=small_pipelines.start_noise(1, 64, 48),
            sampler="euler",
            schedule="uniform",
            verbose=False,
            image_prompts=given,
        ).astype("int16")


@pytest.fixture(scope="module", params=["1.x", "xl"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(request.param, tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize(
    ("prompts", "guidance"),
    [
        ([("base", 0.8)], 7.5),
        ([("plus", 0.8)], 7.5),
        ([("full", 0.5)], 7.5),
        ([("plus", 0.6), ("base", 0.4), ("plus", -0.3)], 7.5),
        ([("base", 1.0)], 1.0),
    ],
)
def test_as_diffusers_paints(
    prompts: list[tuple[str, float]], guidance: float, pair: Pair
) -> None:
    expected = pair.theirs(*prompts, guidance=guidance)
    got = pair.paint(*prompts, guidance=guidance)
    assert got.shape == expected.shape
    assert np.abs(expected - pair.plain).mean() > 3  # the pictures say something
    assert np.abs(got - expected).max() <= 1
