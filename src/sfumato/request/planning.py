"""From the fields of a completed request to the plan of its sampler; errors name the field."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sfumato.diffusion import Plan, make_plan, split_options, training_sigmas
from sfumato.request.fields import RequestError


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

    Raises:
        RequestError: they do not go together; names the field of `Request`.
    """
    training = training_sigmas(**dict(noise))
    if steps > len(training):
        raise RequestError.of("steps", f"be from 1 to {len(training)}", steps)
    if int(steps * strength) < 1:
        received = f"steps={steps}, strength={strength}"
        raise RequestError("strength", "leave at least one of the steps", received)
    try:
        own, of_schedule = split_options(sampler, schedule, dict(options))
    except ValueError as error:
        raise _of("sampler_options", error) from error
    try:
        return make_plan(
            training,
            steps,
            sampler,
            schedule,
            strength=strength,
            schedule_options=of_schedule,
            **own,
        )
    except ValueError as error:
        raise _of("steps", error) from error


def _of(name: str, error: ValueError) -> RequestError:
    """What `diffusion` refuses ("`x` must be ... Received: ..."), as the error of a field."""
    text, _, received = str(error).partition(". Received: ")
    subject, be, rest = text.partition(" must be ")
    if not be:
        return RequestError(name, f"suit sampler and schedule ({text})", received)
    if subject in (f"`{name}`", "`n`"):  # schedules count `n` steps
        return RequestError(name, f"be {rest}", received.replace("n=", f"{name}="))
    return RequestError(name, f"have {subject} {rest}", received)
