"""From a request to one with nothing left open, checked against a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfumato.request import seeds
from sfumato.request.checks import check_pictures, check_size, check_words
from sfumato.request.pictured import own_size
from sfumato.request.planning import without_idle_words
from sfumato.request.room_kinds import Name

if TYPE_CHECKING:
    from sfumato.checkpoints import Model
    from sfumato.request.request import Request


def completed(asked: Request, model: Model) -> Request:
    """The request of `Request.completed`."""
    check_pictures(asked, model)
    height, width = own_size(asked, model)
    sampler = asked.sampler or model.sampler
    schedule = model.schedule_for(asked.sampler) or Name("sampler").row(sampler).schedule
    strength = None if asked.image is None else 1.0 if asked.paints_part else 0.8
    request = asked.with_defaults(
        width=width,
        height=height,
        **seeds.chosen(asked),
        model=model.name or None,
        steps=model.steps,
        guidance=model.guidance,
        sampler=sampler,
        schedule=schedule,
        strength=strength,
    )
    check_size(request, model)
    check_words(request, model)
    seeds.check(request, model.autoencoder_config.downsampling)
    plan = request.plan(model)  # whose errors are the request's
    return request if request.negative_prompt is None else without_idle_words(request, plan)
