"""Models of few steps: timesteps of their own, and presets that are a LoRA for another preset."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import pytest
import small_pipelines
from test_lora_pictures import kohya

from sfumato import presets
from sfumato.checkpoints import hub
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.presets import table
from sfumato.stable_diffusion import StableDiffusion

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")
PROMPT = "a red apple on a table"


@pytest.mark.parametrize("timesteps", [(800,), (999, 749, 499, 249), (399,)])
def test_the_picture_of_given_timesteps_is_diffusers(
    model: StableDiffusion, timesteps: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of Hyper-SD for one step, and of DMD2 for four and one."""
    theirs = small_pipelines.pipeline("1.x")
    theirs.scheduler = diffusers.LCMScheduler(**small_pipelines.NOISE)
    noise = small_pipelines.start_noise(1, 64, 48)
    small_pipelines.draw_as_we_do(monkeypatch, noise)
    expected = small_pipelines.picture(
        theirs, PROMPT, noise, timesteps=list(timesteps), guidance_scale=1.0
    )
    painted = model.text_to_image(
        PROMPT,
        unconditional_guidance_scale=1.0,
        diffusion_noise=noise,
        sampler="lcm",
        timesteps=timesteps,
        verbose=False,
    )
    small_pipelines.assert_same(painted, expected)


def test_a_preset_that_is_a_lora_for_another(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The LoRA is part of the model: the request and the recipe name the model alone."""
    file = tmp_path / "weights.safetensors"
    write_safetensors(file, dict(kohya(small_pipelines.pipeline("1.x").unet, "lora_unet")))
    preset = replace(presets.PRESETS["lcm-sd1.5"], repository="a/lora", revision="main")
    monkeypatch.setitem(table.PRESETS, preset.name, preset)
    places = {"a/lora": file, presets.PRESETS["sd1.5"].repository: folder}
    monkeypatch.setattr(hub, "download", lambda address, offline: places[address.repository])

    fast = StableDiffusion(64, 48, preset="lcm-sd1.5")
    (picture,) = fast.generate(PROMPT, seed=1)
    request = picture.request
    assert (request.steps, request.sampler, request.guidance) == (4, "lcm", 1.0)
    assert (request.loras, picture.request.recipe().items["Model"]) == ((), "lcm-sd1.5")
    base = StableDiffusion(64, 48, preset=str(folder))
    asked = {"seed": 1, "steps": 4, "sampler": "lcm", "guidance": 1.0}
    (same,) = base.generate(PROMPT, loras=[(file, 1.0)], **asked)
    np.testing.assert_array_equal(picture.pixels, same.pixels)
    (plain,) = base.generate(PROMPT, **asked)
    assert np.abs(picture.pixels.astype(int) - plain.pixels).max() > 9

    (more,) = fast.generate(PROMPT, loras=[(file, -1.0)], **asked)  # on top of its own
    np.testing.assert_allclose(more.pixels.astype(int), plain.pixels, atol=1)
    (copied,) = copy.deepcopy(fast).generate(request)
    np.testing.assert_array_equal(copied.pixels, picture.pixels)
