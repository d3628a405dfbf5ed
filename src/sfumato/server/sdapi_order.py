"""What a client asks for in A1111's words, as a request.

Names that say nothing to us are let pass: clients send dozens of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from sfumato._numbers import as_number
from sfumato.diffusion import SAMPLERS, split_label
from sfumato.request import Request, RequestError
from sfumato.request.adapter_kinds import plain_name
from sfumato.request.fields import specs
from sfumato.server import sdcpp, wire
from sfumato.server.sdapi_controls import controls_of
from sfumato.server.service import Service

STEPS = 50
"""Of a request that does not say: A1111's, which its clients count on."""
NO_UPSCALER, PLAIN = "None", "lanczos"
"""A1111's word for none, and what it does then."""
STRENGTH, MASK_BLUR = 0.75, 4
"""The same of a request with a picture."""

SPELLINGS = {
    "cfg_scale": "guidance",
    "denoising_strength": "strength",
    "inpaint_full_res_padding": "padding",
    "subseed": "variation_seed",
    "subseed_strength": "variation_strength",
    "tiling": "seamless",
}
"""A1111's names of our fields, where both have the same values."""
ELSEWHERE = {"model", "image", "mask"}
"""Fields that are read by themselves."""
OF_PICTURES = {"mask_blur", "strength", "padding", "inpaint_area", "resize", "extend"}
"""Fields that clients send without a picture, too."""

RESIZES = {0: "stretch", 1: "crop", 2: "fill", 3: "stretch"}
OPEN = {"", "automatic", "default", "none"}
"""Names of samplers and schedules that leave the choice open."""


def schema(names: Iterable[str]) -> dict[str, Any]:
    """The JSON schema of a body with these fields; others are let pass."""
    known = specs(Request)
    ours = {name: known.get(SPELLINGS.get(name, name)) for name in names}
    fields = {name: {} if spec is None else spec.kind.schema() for name, spec in ours.items()}
    return {"type": "object", "properties": fields, "additionalProperties": True}


def model_of(given: Mapping[str, Any], service: Service, current: str | None) -> str:
    """The served model that is meant: by the request, or by the options that were set before."""
    override = given.get("override_settings") or {}
    name = override.get("sd_model_checkpoint") if isinstance(override, Mapping) else None
    return find_model(name or given.get("model") or current, service)


def find_model(title: Any, service: Service) -> str:
    """The served model of a title, which may end in a hash in brackets."""
    if title is not None and not isinstance(title, str):
        raise RequestError("sd_model_checkpoint", "be the title of a model", repr(title)[:100])
    return service.models.find(re.sub(r"\s*\[\w*\]$", "", title or ""))


def request_of(given: Mapping[str, Any], service: Service, begins: bool = False) -> Request:
    """The request.

    Args:
        given: the body.
        service: has the limits.
        begins: whether it begins from pictures.
    """
    known = specs(Request)
    values: dict[str, Any] = {}
    for key, value in given.items():
        name = SPELLINGS.get(key, key)
        is_ours = name in known and name not in ELSEWHERE
        if is_ours and value is not None and (begins or name not in OF_PICTURES):
            values[name] = value
    if isinstance(given.get("lora"), list):
        values["loras"] = [_lora(each) for each in given["lora"]]
    if controls := controls_of(given):
        values["controls"] = controls
    values |= _how(given) | _seeds(given) | ({} if begins else _larger(given))
    pictures = _pictures(given, service) if begins else {}
    if begins:
        values |= _place(given, values, pictures)
    values.setdefault("steps", STEPS)
    values["prompt"], said = sdcpp.said_in(values.get("prompt"))
    values = sdcpp.with_sampler(values) | said
    return wire.request_of(_without_open(values), service, **pictures)


def _how(given: Mapping[str, Any]) -> dict[str, Any]:
    """Sampler, schedule, number of pictures and layer of the text encoder."""
    values: dict[str, Any] = {}
    names = (given.get("sampler_name") or given.get("sampler_index"), given.get("scheduler"))
    for field, name in zip(("sampler", "schedule"), names, strict=True):
        if isinstance(name, str) and name.casefold() in OPEN:
            values[field] = None
        elif name is not None:
            values[field] = name
    override = given.get("override_settings") or {}
    skip = given.get("clip_skip")
    if skip is None and isinstance(override, Mapping):
        skip = override.get("CLIP_stop_at_last_layers")
    values["clip_skip"] = skip if isinstance(skip, (int, float)) and skip > 1 else None
    counts = [given.get(name) or 1 for name in ("batch_size", "n_iter")]
    if not all(isinstance(count, int) for count in counts):
        raise RequestError("batch_size", "be a whole number from 1", repr(counts)[:100])
    values["count"] = counts[0] * counts[1]
    if given.get("eta") is not None and _takes_eta(values.get("sampler")):
        values["sampler_options"] = {"eta": given["eta"]}
    return values


def _lora(entry: Any) -> Any:
    """A LoRA with its weight as stable-diffusion.cpp's server takes it."""
    if not isinstance(entry, Mapping):
        raise RequestError("lora", "be a list of objects with a path", type(entry).__name__)
    name = entry.get("path") or entry.get("name")
    return [plain_name(name) if isinstance(name, str) else name, entry.get("multiplier", 1.0)]


def _takes_eta(sampler: Any) -> bool:
    """Whether a sampler has A1111's eta; clients send it with all of them."""
    try:
        return isinstance(sampler, str) and "eta" in SAMPLERS[split_label(sampler)[0]].options
    except ValueError:
        return False


def _seeds(given: Mapping[str, Any]) -> dict[str, Any]:
    """The size whose noise stays in the middle; -1 and 0 say that there is none."""
    names = ("seed_resize_from_w", "seed_resize_from_h")
    sides = [given.get(name) or -1 for name in names]
    is_given = all(isinstance(side, int) and side > 0 for side in sides)
    varies = given.get("subseed_strength")
    return {
        "seed_resize": sides if is_given else None,
        "variation_seed": given.get("subseed") if varies else None,
    }


def _larger(given: Mapping[str, Any]) -> dict[str, Any]:
    """The second pass, where it is switched on."""
    if not given.get("enable_hr"):
        return {}
    upscaler = given.get("hr_upscaler")
    if upscaler == NO_UPSCALER:
        upscaler = PLAIN
    elif isinstance(upscaler, str) and upscaler.casefold() in OPEN:
        upscaler = None
    return {
        "upscale": _factor(given),
        "upscale_steps": given.get("hr_second_pass_steps") or given.get("hr_steps") or None,
        "upscale_strength": given.get("denoising_strength", STRENGTH),
        "upscaler": upscaler,
    }


def _factor(given: Mapping[str, Any]) -> Any:
    """How many times larger the second pass is, which may be said by the size to reach."""
    names = {"hr_resize_x": "width", "hr_resize_y": "height"}
    sides = {name: given.get(name) or 0 for name in names}
    try:
        factors = [
            as_number(side) / as_number(given.get(names[name]))
            for name, side in sides.items()
            if side
        ]
    except (TypeError, ValueError, OverflowError, ZeroDivisionError) as error:
        raise RequestError("hr_resize_x", "be a number, as `width`", repr(sides)[:100]) from error
    if len(factors) == 2 and abs(factors[0] / factors[1] - 1) > 0.02:
        raise RequestError("hr_resize_x", "keep the shape with `hr_resize_y`", repr(sides)[:100])
    return max(factors) if factors else given.get("hr_scale") or 2


def _pictures(given: Mapping[str, Any], service: Service) -> dict[str, Any]:
    """The picture to begin from, and the mask, which is made as large."""
    sent = given.get("init_images") or [None]
    if not isinstance(sent, list) or sent[0] is None:
        raise RequestError("init_images", "be a list with a picture", type(sent).__name__)
    image = wire.picture_of("init_images", sent[0], service)
    if not given.get("mask"):
        return {"image": image}
    mask = wire.picture_of("mask", given["mask"], service)
    H, W, _ = image.shape
    grey = Image.fromarray(mask).convert("L").resize((W, H), Image.Resampling.BILINEAR)
    values = np.array(grey)
    return {"image": image, "mask": 255 - values if given.get("inpainting_mask_invert") else values}


def _place(
    given: Mapping[str, Any], values: dict[str, Any], pictures: dict[str, Any]
) -> dict[str, Any]:
    """How the picture is painted on: as a whole at the size asked for, or where the mask is."""
    found: dict[str, Any] = {"strength": values.get("strength", STRENGTH)}
    has_mask = "mask" in pictures
    found["mask_blur"] = values.get("mask_blur", MASK_BLUR) if has_mask else None
    if has_mask and given.get("inpaint_full_res", True):
        return found | {"inpaint_area": "masked", "padding": values.get("padding", 0)}
    mode = given.get("resize_mode", 0)
    if not isinstance(mode, int) or mode not in RESIZES:
        raise RequestError("resize_mode", "be from 0 to 3", repr(mode)[:100])
    return found | {"padding": None, "resize": RESIZES[mode]}


def _without_open(values: dict[str, Any]) -> dict[str, Any]:
    """The fields that say something: no negative prompt is an empty one there."""
    return {n: v for n, v in values.items() if v is not None and (v != "" or n == "prompt")}
