"""XL models that predict the velocity and were trained down to no signal, such as NoobAI's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import small_pipelines

from sfumato.stable_diffusion import StableDiffusion

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")
PROMPT, NEGATIVE = "a red apple on a table", "blurry"


@pytest.mark.parametrize("rescale", [0.0, 0.7])
def test_the_picture_is_diffusers(tmp_path: Path, rescale: float) -> None:
    """Without a word on sampling: the schedule is that of the model's noise."""
    theirs = small_pipelines.pipeline("xl")
    theirs.scheduler = diffusers.EulerDiscreteScheduler(
        **small_pipelines.NOISE,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
    theirs.save_pretrained(tmp_path)
    ours = StableDiffusion(64, 48, preset=str(tmp_path))
    noise = small_pipelines.start_noise(1, 64, 48)
    settings: dict[str, Any] = {"guidance_rescale": rescale}
    expected = small_pipelines.picture(
        theirs,
        PROMPT,
        noise,
        negative_prompt=NEGATIVE,
        num_inference_steps=6,
        guidance_scale=5.0,
        **settings,
    )
    painted = ours.text_to_image(
        PROMPT,
        NEGATIVE,
        num_steps=6,
        unconditional_guidance_scale=5.0,
        diffusion_noise=noise,
        sampler="euler",
        verbose=False,
        **settings,
    )
    assert ours.completed(PROMPT).schedule == "trailing"
    small_pipelines.assert_same(painted, expected)
