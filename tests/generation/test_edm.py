"""Models of EDM's noise, which the network sees as ln(sigma) / 4: CosXL and Playground 2.5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import small_pipelines

from sfumato.networks.autoencoder import scaled, unscaled
from sfumato.request import RequestError
from sfumato.stable_diffusion import StableDiffusion

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")
PROMPT, NEGATIVE = "a red apple on a table", "blurry"
LATENTS = {
    "scaling_factor": 0.5,
    "latents_mean": [-0.3, 0.2, -0.1, 0.4],
    "latents_std": [1.2, 0.8, 0.9, 0.7],
}
COSXL = diffusers.EDMEulerScheduler(
    sigma_max=120.0, sigma_data=1.0, prediction_type="v_prediction", sigma_schedule="exponential"
)
KINDS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "Playground": (diffusers.EDMDPMSolverMultistepScheduler(), LATENTS, "dpmpp_2m"),
    "Playground by Euler": (diffusers.EDMEulerScheduler(), LATENTS, "euler"),
    "CosXL": (COSXL, {}, "euler"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_is_diffusers(kind: str, tmp_path: Path) -> None:
    scheduler, latents, sampler = KINDS[kind]
    theirs = small_pipelines.pipeline("xl")
    theirs.scheduler = scheduler
    theirs.vae.register_to_config(**latents)
    theirs.save_pretrained(tmp_path)
    ours = StableDiffusion(64, 48, preset=str(tmp_path))
    assert ours.model.prediction == ("v_prediction" if kind == "CosXL" else "edm")
    noise = small_pipelines.start_noise(1, 64, 48)
    expected = small_pipelines.picture(
        theirs, PROMPT, noise, negative_prompt=NEGATIVE, num_inference_steps=6, guidance_scale=3.0
    )
    painted = ours.text_to_image(
        PROMPT,
        NEGATIVE,
        num_steps=6,
        unconditional_guidance_scale=3.0,
        diffusion_noise=noise,
        sampler=sampler,
        verbose=False,
    )
    small_pipelines.assert_same(painted, expected)
    with pytest.raises(RequestError, match="`timesteps` must not be given for a model of EDM"):
        ours.completed(PROMPT, timesteps=[999])

    config = ours.model.autoencoder_config
    assert ours.completed(PROMPT).guidance == (3.0 if latents else 7.5)
    x = np.random.default_rng(0).standard_normal((1, 2, 2, 4)).astype("float32")
    mean, std = (np.array(latents.get(k, d)) for k, d in (("latents_mean", 0), ("latents_std", 1)))
    wanted = (x - mean) * theirs.vae.config.scaling_factor / std
    np.testing.assert_allclose(scaled(x, config), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(unscaled(scaled(x, config), config), x, rtol=1e-5, atol=1e-6)
