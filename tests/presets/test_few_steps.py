"""Few steps are enough: they are taken where a step changes the picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import diffusers
import numpy as np
import pytest

from sfumato.checkpoints import Model, open_model
from sfumato.diffusion import make_plan, training_sigmas
from sfumato.presets import PRESETS
from sfumato.request import Request, RequestError

NOISE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
TRAILING = NOISE | {"timestep_spacing": "trailing"}
EULER = diffusers.EulerDiscreteScheduler(**TRAILING)
ANCESTRAL = diffusers.EulerAncestralDiscreteScheduler(**TRAILING)
LCM, TCD = diffusers.LCMScheduler(**NOISE), diffusers.TCDScheduler(**NOISE)
CARDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sd-turbo": (ANCESTRAL, {"num_inference_steps": 1}),
    "sdxl-turbo": (ANCESTRAL, {"num_inference_steps": 1}),
    "sdxl-lightning": (EULER, {"num_inference_steps": 4}),
    "sdxl-lightning-1step": (EULER, {"num_inference_steps": 1}),
    "sdxl-lightning-2step": (EULER, {"num_inference_steps": 2}),
    "sdxl-lightning-8step": (EULER, {"num_inference_steps": 8}),
    "hyper-sdxl": (diffusers.DDIMScheduler(**TRAILING), {"num_inference_steps": 4}),
    "hyper-sdxl-1step": (LCM, {"timesteps": [800]}),
    "hyper-sd1.5": (diffusers.DDIMScheduler(**TRAILING), {"num_inference_steps": 4}),
    "hyper-sd1.5-1step": (TCD, {"num_inference_steps": 1}),
    "lcm-sdxl": (LCM, {"num_inference_steps": 4}),
    "lcm-sd1.5": (LCM, {"num_inference_steps": 4}),
    "lcm-dreamshaper": (LCM, {"num_inference_steps": 4}),
    "tcd-sdxl": (TCD, {"num_inference_steps": 4}),
    "sdxs": (EULER, {"num_inference_steps": 1}),
}
"""diffusers' scheduler of each model's card, and how it is set."""


def model_of(name: str) -> Model:
    """A model that is used as a preset says, with Stable Diffusion's training noise."""
    mini = open_model("mini")
    settings = mini.checkpoint.settings | {"scheduler": {}}
    return replace(
        mini, preset=PRESETS[name], checkpoint=replace(mini.checkpoint, settings=settings)
    )


@pytest.mark.parametrize("name", CARDS)
def test_a_preset_asks_at_the_timesteps_of_its_card(name: str) -> None:
    model = model_of(name)
    request = Request(prompt="a fox").completed(model)
    scheduler, steps = CARDS[name]
    scheduler.set_timesteps(**steps)
    np.testing.assert_array_equal(request.plan(model).timestep, scheduler.timesteps)
    assert request.is_guided == (name == "lcm-dreamshaper")  # mini takes no guidance as an input
    assert request.completed(model) == request
    again = Request.from_recipe(request.recipe(), model=None).completed(model)
    np.testing.assert_array_equal(again.plan(model).timestep, scheduler.timesteps)


def test_what_a_preset_wants_is_for_its_own_sampler_and_steps() -> None:
    model = model_of("hyper-sdxl-1step")
    for fields in ({"steps": 3}, {"sampler": "ddim"}, {"schedule": "trailing"}):
        assert Request(prompt="a", **fields).completed(model).timesteps is None
    model = model_of("hyper-sd1.5-1step")
    assert Request(prompt="a").completed(model).sampler_options == {"eta": 1.0}
    assert Request(prompt="a", steps=4).completed(model).sampler_options == {"eta": 1.0}
    given = Request(prompt="a", sampler_options={"eta": 0.5}).completed(model)
    assert given.sampler_options == {"eta": 0.5}
    assert Request(prompt="a", sampler="euler").completed(model).sampler_options == {}


def test_given_timesteps_are_the_steps() -> None:
    model = model_of("sd1.5")
    request = Request(prompt="a", timesteps=[249, 999], sampler="lcm").completed(model)
    assert (request.steps, request.schedule) == (2, None)
    assert request.recipe().items["Timesteps"] == "999,249"
    for wrong, name in (
        ({"steps": 3}, "steps"),
        ({"schedule": "karras"}, "schedule"),
        ({"timesteps": [1000]}, "timesteps"),
    ):
        with pytest.raises(RequestError, match=f"`{name}` must"):
            Request(prompt="a", **{"timesteps": [999, 249]} | wrong).completed(model)
    second = Request(prompt="a", timesteps=[999, 249], upscale=2, width=64, height=64)
    assert second.completed(model).upscale_steps == 2


@pytest.mark.parametrize("steps", [4, 8, 25])
def test_a_model_trained_down_to_no_signal_spends_one_step_on_it(steps: int) -> None:
    preset = PRESETS["mini"]
    training = training_sigmas(zero_terminal_snr=True)
    plan = make_plan(training, steps, preset.sampler, preset.schedule)
    assert training[-1] > 1000
    assert sum(plan.sigmas[:-1] < 30) >= steps - 1 - steps // 25


def test_a_model_of_zero_terminal_snr_steps_evenly_in_time_with_any_sampler() -> None:
    mini = open_model("mini")
    assert mini.noise["zero_terminal_snr"]
    assert mini.schedule_for(None) == mini.schedule_for("dpm2_a") == "trailing"
