"""The largest request that a server takes, checked before anything is computed from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sfumato.request import Request, RequestError
from sfumato.request.fields import specs
from sfumato.request.kinds import Kind
from sfumato.request.pictured import sides_of
from sfumato.request.words import is_template
from sfumato.text.schedules import joined

if TYPE_CHECKING:
    from sfumato.server.settings import Settings

LISTS = 2**20
"""Characters of all wildcards of a request."""
LORAS = 32
"""LoRAs of a request."""


def check_limits(request: Request, settings: Settings) -> None:
    """Refuse what would take too long or too much memory; errors name the field."""
    most = {
        "width": settings.max_side,
        "height": settings.max_side,
        "steps": settings.max_steps,
        "count": settings.max_count,
    }
    for name, limit in most.items():
        if (getattr(request, name) or 0) > limit:
            raise RequestError.of(
                name, f"be at most {limit} on this server", getattr(request, name)
            )
    _check_texts(request, settings)
    if request.refiner is not None:
        raise RequestError.of("refiner", "be left out on this server", request.refiner[:100])
    check_pixels("width", request.width or 0, request.height or 0, settings)
    if request.upscale is not None:
        _check_larger(request, request.upscale, settings)
    if request.seed_resize is not None:
        check_pixels("seed_resize", *request.seed_resize, settings)
    if request.image is not None and request.extend:
        height, width = sides_of(request)
        check_pixels("extend", width, height, settings)
    for name in ("image", "mask"):
        pixels = getattr(request, name)
        if pixels is not None:
            check_pixels(name, pixels.shape[1], pixels.shape[0], settings)


def check_drawn(request: Request, settings: Settings) -> None:
    """Refuse a completed request whose pictures would have too many words, as they are drawn."""
    for single in request.singles() if is_template(request) else [request]:
        _check_texts(single, settings)
        count = 1 if request.prompt_syntax == "plain" else len(joined(single.prompt))
        if count > settings.max_joined:
            must = f"join at most {settings.max_joined} prompts by AND on this server"
            raise RequestError("prompt", must, f"{count} of them")


def _check_texts(request: Request, settings: Settings) -> None:
    """Refuse long texts, and lists that are long together."""
    texts = [name for name, spec in specs(Request).items() if type(spec.kind) is Kind]
    lengths = {name: len(getattr(request, name) or "") for name in texts}
    lists = (len(line) for lines in request.wildcards.values() for line in lines)
    most = dict.fromkeys(lengths, settings.max_words) | {"wildcards": LISTS}
    for name, length in (lengths | {"wildcards": sum(lists)}).items():
        if length > most[name]:
            must = f"have at most {most[name]} characters on this server"
            raise RequestError(name, must, f"{length} characters")
    if len(request.loras) > LORAS:
        must = f"be at most {LORAS} on this server"
        raise RequestError("loras", must, f"{len(request.loras)} of them")


def _check_larger(request: Request, factor: float, settings: Settings) -> None:
    """Refuse a second pass of too large pictures or too many steps."""
    width, height = (round(factor * (side or 0)) for side in (request.width, request.height))
    if max(width, height) > settings.max_side:
        must = f"make sides of at most {settings.max_side} on this server"
        raise RequestError.of("upscale", must, factor)
    check_pixels("upscale", width, height, settings)
    steps = request.upscale_steps or 0
    # A weak second pass plans many steps of which it makes the last.
    if steps / min(request.upscale_strength or 1, 1) > 10 * settings.max_steps:
        raise RequestError.of("upscale_steps", "be fewer, or the strength larger", steps)
    if steps > settings.max_steps:
        must = f"be at most {settings.max_steps} on this server"
        raise RequestError.of("upscale_steps", must, steps)


def check_controls(name: str, count: int, settings: Settings) -> None:
    """Refuse too many ControlNets or IP-Adapters, before their pictures are decoded."""
    if count > settings.max_controls:
        must = f"be at most {settings.max_controls} on this server"
        raise RequestError(name, must, f"{count} of them")


def check_pixels(name: str, width: int, height: int, settings: Settings) -> None:
    """Refuse a size of too many pixels."""
    if width * height > settings.max_pixels:
        must = f"be of at most {settings.max_pixels} pixels on this server"
        raise RequestError(name, must, f"{width}x{height}")


def limits_of(settings: Settings) -> dict[str, Any]:
    """The limits as `/v1/capabilities` tells them."""
    names = ("max_side", "max_pixels", "max_steps", "max_count", "max_controls", "max_words")
    names += ("max_joined", "queue", "batch")
    return {name: getattr(settings, name) for name in names} | {
        "max_body": settings.max_body * 2**20,
        "deadline": settings.deadline,
    }
