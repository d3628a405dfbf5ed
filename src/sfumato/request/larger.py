"""The second pass of a request, which makes its pictures larger (A1111's "hires fix")."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sfumato._numbers import MAX_PIXELS
from sfumato.request.fields import RequestError

if TYPE_CHECKING:
    from sfumato.checkpoints import Model
    from sfumato.request.request import Request

FIELDS = ("upscale", "upscale_steps", "upscale_strength", "upscaler")
STRENGTH = 0.7


def chosen(request: Request, steps: int) -> dict[str, Any]:
    """The choices that a second pass leaves open."""
    if request.upscale is None:
        return {}
    own = {"upscale_strength": STRENGTH, "upscaler": "latent"}
    return {"upscale_steps": request.steps or steps, **own}


def check(request: Request, model: Model) -> None:
    """Refuse a second pass that cannot be, of a request that is otherwise completed."""
    if request.upscale is None:
        for name in FIELDS:
            if name in request.given():
                raise RequestError("upscale", f"be given with `{name}`", "upscale=None")
        return
    if request.image is not None:
        must = "not be given with a picture, which `sfumato.upscale` makes larger"
        raise RequestError.of("upscale", must, request.upscale)
    later = second(request, model.autoencoder_config.downsampling)
    if (later.width or 0) * (later.height or 0) > MAX_PIXELS:
        must = f"make a picture of at most {MAX_PIXELS} pixels in size"
        received = f"upscale={request.upscale}, {later.width}x{later.height} pixels"
        raise RequestError("upscale", must, received)
    try:
        later.plan(model)
    except RequestError as error:
        received = f"upscale_steps={request.upscale_steps}, {later.steps} with those left out"
        raise RequestError("upscale_steps", error.must, received) from error


def second(request: Request, grain: int, image: Any = None) -> Request:
    """The second pass of a completed request as a request of its own.

    As in A1111, it does just ``upscale_steps`` steps, the last of as many as leave the strength.

    Args:
        request: with a second pass.
        grain: pixels along a side of a latent.
        image: the enlarged picture; None: it begins from enlarged latents.
    """
    assert request.upscale
    assert request.upscale_steps
    sides = request.height or 0, request.width or 0
    height, width = (int(side * request.upscale) // grain * grain for side in sides)
    done = request.upscale_steps
    steps = int(done / min(request.upscale_strength or STRENGTH, 0.999))
    return replace(
        request,
        image=image,
        height=height,
        width=width,
        steps=steps,
        timesteps=None,  # they are the first pass's
        strength=min((done + 0.5) / steps, 1.0),  # a plan does int(steps * strength)
        **dict.fromkeys(FIELDS),
    )
