"""The last steps of a request by another model, such as XL's refiner."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sfumato.request.fields import RequestError

if TYPE_CHECKING:
    from sfumato.checkpoints import Model
    from sfumato.diffusion import Plan
    from sfumato.request.request import Request


def steps_before(request: Request, plan: Plan, model: Model) -> int:
    """The steps that the first model does: those that begin before the switch, by their timesteps.

    Where a model's training has no timesteps the number of steps counts.
    """
    if "sigma_data" in model.noise:
        return round(plan.steps * request.refiner_switch)
    count = model.noise.get("timesteps", 1000)
    begins = plan.timestep[np.searchsorted(plan.step, np.arange(plan.steps))]
    return int(np.sum(begins >= round(count - request.refiner_switch * count)))


def check(request: Request, model: Model, plan: Plan) -> None:
    """Refuse a switch that leaves one of the two models without a step."""
    if request.refiner is None:
        if "refiner_switch" in request.given():
            raise RequestError("refiner", "be given with `refiner_switch`", "refiner=None")
        return
    if not 0 < steps_before(request, plan, model) < plan.steps:
        must = f"leave each model some of the {plan.steps} steps"
        raise RequestError.of("refiner_switch", must, request.refiner_switch)


def second(request: Request, rest: int) -> Request:
    """The request for the refiner, which does the last ``rest`` steps of a completed one.

    LoRAs, learned words, ControlNets and IP-Adapters are for the first model's networks.
    """
    assert request.steps
    strength = (rest + 0.5) / request.steps  # a plan does int(steps * strength)
    return replace(
        request,
        strength=strength,
        refiner=None,
        refiner_switch=0.8,
        image_guidance=None,
        loras=(),
        lora_folder=None,
        embeddings={},
        controls=(),
        image_prompts=(),
    )
