"""From the fields of a completed request to the plan of its sampler, and what the plan leaves idle.

Errors name the field.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sfumato.diffusion import (
    Plan,
    as_edm,
    edm_sigmas,
    given_timesteps,
    make_plan,
    split_options,
    training_sigmas,
)
from sfumato.diffusion.shortcuts import evaluations
from sfumato.request.fields import RequestError

if TYPE_CHECKING:
    from sfumato.request.request import Request


@lru_cache(8)
def plan_of(
    noise: tuple[tuple[str, Any], ...],
    steps: int,
    sampler: Any,
    schedule: Any,
    strength: float,
    options: tuple[tuple[str, Any], ...],
) -> Plan:
    """The plan of a sampler and its options on a model's training noise.

    `schedule` may be timesteps.

    Raises:
        RequestError: they do not go together; names the field of `Request`.
    """
    levels = dict(noise)
    sigma_data = levels.pop("sigma_data", None)  # of EDM
    training = edm_sigmas(**levels) if sigma_data else training_sigmas(**levels)
    if steps > len(training):
        raise RequestError.of("steps", f"be from 1 to {len(training)}", steps)
    if int(steps * strength) < 1:
        received = f"steps={steps}, strength={strength}"
        raise RequestError("strength", "leave at least one of the steps", received)
    if isinstance(schedule, tuple):
        if sigma_data:
            must = "not be given for a model of EDM, which has no steps of training"
            raise RequestError.of("timesteps", must, schedule)
        if schedule[0] >= len(training):
            raise RequestError.of("timesteps", f"be below {len(training)}", schedule)
        schedule = given_timesteps(schedule)
    try:
        own, of_schedule = split_options(sampler, schedule, dict(options))
    except ValueError as error:
        must, received = _parts_of(error, "sampler_options")
        raise RequestError("sampler_options", must, received) from error
    kept = {"strength": strength, "schedule_options": of_schedule}
    try:
        made = make_plan(training, steps, sampler, schedule, **kept, **own)
    except ValueError as error:
        must, _ = _parts_of(error, "n")  # as schedules call the number of steps
        raise RequestError.of("steps", must, steps) from error
    return as_edm(made, sigma_data) if sigma_data else made


def without_idle_words(request: Request, plan: Plan) -> Request:
    """The request without a negative prompt that no step would read, and a warning of it."""
    ways = evaluations(plan, request.is_guided, request.guidance_interval)
    if not request.negative_prompt or any(way.guided for way in ways):
        return request
    received = f"guidance={request.guidance}, guidance_interval={request.guidance_interval}"
    warnings.warn(
        "`negative_prompt` has no effect without guidance, which begins above 1, and was left out. "
        f"Received: {received}",
        stacklevel=4,
    )
    return replace(request, negative_prompt=None)


def _parts_of(error: ValueError, name: str) -> tuple[str, str]:
    """The words of an error of `diffusion` ("`x` must be ... Received: ...") for one of a field.

    Args:
        name: what `diffusion` calls the field.

    Returns:
        What the field must be, and what came.
    """
    text, _, received = str(error).partition(". Received: ")
    subject, be, rest = text.partition(" must be ")
    if subject == f"`{name}`":
        return f"be {rest}", received
    if be and name == "sampler_options":  # one of them
        return f"have {subject} {rest}", received
    return f"suit sampler and schedule ({text})", received
