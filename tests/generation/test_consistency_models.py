"""Latent consistency models, which take the guidance as an input of the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import small_pipelines

from sfumato.request import Request, RequestError
from sfumato.stable_diffusion import StableDiffusion

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")
PROMPT = "a red apple on a table"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = small_pipelines.save("lcm", tmp_path_factory.mktemp("models"))
    return small_pipelines.pipeline("lcm"), StableDiffusion(64, 48, preset=str(folder))


@pytest.mark.parametrize("guidance", [1.0, 8.0])
def test_the_picture_is_diffusers(
    pair: Any, guidance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = pair
    theirs.scheduler = diffusers.LCMScheduler(**small_pipelines.NOISE)
    noise = small_pipelines.start_noise(1, 64, 48)
    small_pipelines.draw_as_we_do(monkeypatch, noise)
    expected = small_pipelines.picture(
        theirs, PROMPT, noise, num_inference_steps=4, guidance_scale=guidance
    )
    painted = ours.text_to_image(
        PROMPT, unconditional_guidance_scale=guidance, diffusion_noise=noise, verbose=False
    )  # steps, sampler and timesteps are what the network shows
    small_pipelines.assert_same(painted, expected)


def test_the_request_says_how_it_was_guided(pair: Any) -> None:
    _, ours = pair
    request = ours.completed(PROMPT)
    assert (request.steps, request.sampler, request.schedule) == (4, "lcm", "lcm")
    assert (request.guidance, request.distilled_guidance) == (1.0, 8.0)
    assert not request.is_guided
    assert ours.completed(request) == request
    items = ours.completed(PROMPT, guidance=3.0, seed=1).recipe().items
    assert (items["CFG scale"], items["Distilled CFG Scale"]) == ("1", "3")
    with pytest.warns(UserWarning, match="`negative_prompt` has no effect"):
        ours.completed(PROMPT, negative_prompt="blurry")


def test_other_networks_take_none() -> None:
    mini = StableDiffusion(64, 64, preset="mini")
    with pytest.raises(RequestError, match="`distilled_guidance` must not be given for a model"):
        mini.completed(Request(prompt="a", distilled_guidance=3.0))
