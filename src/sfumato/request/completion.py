"""From a request to one with nothing left open, checked against a model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sfumato.request import larger, refining, seeds
from sfumato.request.checks import check_guidance, check_pictures, check_size, check_words
from sfumato.request.controlled import with_controls
from sfumato.request.fields import RequestError, specs
from sfumato.request.image_prompts import with_image_prompts
from sfumato.request.loras import with_files
from sfumato.request.pictured import own_size
from sfumato.request.planning import without_idle_words
from sfumato.request.room_kinds import Name

if TYPE_CHECKING:
    from sfumato.checkpoints import Model
    from sfumato.request.request import Request

TUNED = ("apg", "freeu")
"""The rules that a family has numbers for."""


def completed(asked: Request, model: Model) -> Request:
    """The request of `Request.completed`."""
    asked = with_image_prompts(with_controls(with_files(asked)))
    check_pictures(asked, model)
    height, width = own_size(asked, model)
    asked = with_own_levels(asked, model)
    sampler = asked.sampler or model.sampler
    schedule = model.schedule_for(asked.sampler) or Name("sampler").row(sampler).schedule
    if asked.timesteps:
        schedule = None
    edits = model.edits_pictures
    strength = None if asked.image is None else 1.0 if asked.paints_part or edits else 0.8
    request = asked.with_defaults(
        width=width,
        height=height,
        **seeds.chosen(asked),
        model=model.name or None,
        decoder=model.decoder_name,
        steps=model.steps,
        guidance=model.guidance,
        sampler=sampler,
        schedule=schedule,
        strength=strength,
        **larger.chosen(asked, model.steps),
    )
    if edits:
        request = request.with_defaults(image_guidance=1.5)
    elif request.image_guidance is not None:
        must = "not be given for a model that edits no pictures: use `strength`"
        raise RequestError.of("image_guidance", must, request.image_guidance)
    if model.embeds_guidance:  # which takes the place of asking twice
        request = request.with_defaults(distilled_guidance=request.guidance).changed(guidance=1.0)
    elif request.distilled_guidance is not None:
        must = "not be given for a model whose network takes no guidance: use `guidance`"
        raise RequestError.of("distilled_guidance", must, request.distilled_guidance)
    request = replace(request, **{name: tuned(request, name, model) for name in TUNED})
    check_guidance(request, model)
    check_size(request, model)
    check_words(request, model)
    seeds.check(request, model.autoencoder_config.downsampling)
    plan = request.plan(model)  # whose errors are the request's
    refining.check(request, model, plan)
    larger.check(request, model)
    return request if request.negative_prompt is None else without_idle_words(request, plan)


def with_own_levels(asked: Request, model: Model) -> Request:
    """The request with the timesteps and the sampler's options that a preset wants.

    They are for its own sampler, schedule and number of steps. Given timesteps are the steps.
    """
    use: Any = model.use
    if asked.sampler is None and not asked.sampler_options:
        asked = replace(asked, sampler_options=dict(use.options))
    if not (asked.sampler or asked.schedule or asked.steps or asked.timesteps):
        asked = replace(asked, timesteps=use.timesteps or None)
    if asked.timesteps:
        count = len(asked.timesteps)
        if asked.schedule is not None:
            must = "not be given with `timesteps`, which take its place"
            raise RequestError.of("schedule", must, asked.schedule)
        if asked.steps not in (None, count):
            raise RequestError.of("steps", f"be {count}, as many as `timesteps`", asked.steps)
        asked = replace(asked, steps=count)
    return asked


def tuned(request: Request, name: str, model: Model) -> dict[str, float] | None:
    """All numbers of a rule of guidance, the family's where the request is silent; None: off."""
    given = getattr(request, name)
    if given is None:
        return None
    rule: Any = specs(type(request))[name].kind
    return dict(zip(rule.numbers, getattr(model.family, name), strict=True)) | given
