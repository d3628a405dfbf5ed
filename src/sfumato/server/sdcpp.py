"""The fields of stable-diffusion.cpp's server, which its clients write into the prompt.

    a red apple <sd_cpp_extra_args>{"seed": 7, "sample_params": {"sample_steps": 20}}</sd_cpp_...>

Those that choose files are not read there, as prompts may come from strangers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfumato.request import RequestError
from sfumato.server import wire
from sfumato.server.errors import ApiError

OPEN, CLOSE = "<sd_cpp_extra_args>", "</sd_cpp_extra_args>"
PLACES = {
    **{name: (name,) for name in ("negative_prompt", "clip_skip", "width", "height", "strength")},
    "seed": ("seed",),
    "count": ("batch_count",),
    "steps": ("sample_params", "sample_steps"),
    "sampler": ("sample_params", "sample_method"),
    "schedule": ("sample_params", "scheduler"),
    "guidance": ("sample_params", "guidance", "txt_cfg"),
}
"""Where each of our fields is."""
LARGER = {
    "upscale": "scale",
    "upscale_steps": "steps",
    "upscale_strength": "denoising_strength",
    "upscaler": "upscaler",
}
"""The same of the second pass, within "hires"."""
UNSAID = (None, "", -1)
"""Values that leave the choice open."""


def said_in(prompt: Any) -> tuple[Any, dict[str, Any]]:
    """The words of a prompt without such a block, and the request's fields that it states.

    Raises:
        RequestError: it is no object of JSON.
    """
    if not isinstance(prompt, str) or OPEN not in prompt:
        return prompt, {}
    before, _, rest = prompt.partition(OPEN)
    text, _, after = rest.partition(CLOSE)
    try:
        block = wire.parse_json(text.encode("utf-8", "surrogatepass"))
    except ApiError as error:
        must = f"have an object of JSON in {OPEN}"
        raise RequestError("prompt", must, text[:100]) from error
    found = {name: _at(block, place) for name, place in PLACES.items()}
    hires = block.get("hires")
    if isinstance(hires, Mapping) and hires.get("enabled"):
        found |= {name: hires.get(key) or None for name, key in LARGER.items()}
    fields = {name: value for name, value in found.items() if value not in UNSAID}
    return f"{before.rstrip()} {after.lstrip()}".strip(), with_sampler(fields)


def with_sampler(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with a sampler's name of stable-diffusion.cpp that says the schedule, too."""
    if fields.get("sampler") != "ddim_trailing":
        return fields
    return fields | {"sampler": "ddim", "schedule": "trailing"}


def _at(block: Any, place: tuple[str, ...]) -> Any:
    for key in place:
        block = block.get(key) if isinstance(block, Mapping) else None
    return block
