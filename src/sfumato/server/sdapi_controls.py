"""The ControlNets of A1111's clients: units of its extension as the field `controls`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from sfumato.request import RequestError
from sfumato.request.control import MODES, PREPROCESSORS, Control
from sfumato.request.fields import read, specs
from sfumato.server.native import Serving
from sfumato.server.wire import Json

router = APIRouter(prefix="/controlnet", tags=["A1111"])

NUMBERED = {"resize_mode": ("stretch", "crop", "fill"), "control_mode": MODES.words[:3]}
"""The words of settings for which clients may send a number."""
SPELLINGS = {
    "module": "preprocessor",
    "weight": "weight",
    "resize_mode": "resize",
    "guidance_start": "start",
    "guidance_end": "end",
    "control_mode": "mode",
}


def controls_of(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The ControlNets that a body asks for, as JSON of ours."""
    scripts = given.get("alwayson_scripts")
    scripts = scripts.items() if isinstance(scripts, Mapping) else ()
    named = (script for name, script in scripts if str(name).casefold() == "controlnet")
    units = [unit for script in named for unit in units_of(script)]
    return [control_of(unit) for unit in units if unit.get("enabled", True)]


def units_of(script: Any) -> list[Mapping[str, Any]]:
    units = script.get("args") if isinstance(script, Mapping) else None
    units = units or []
    if not isinstance(units, list) or not all(isinstance(each, Mapping) for each in units):
        raise RequestError("controls", "be units in a list `args`", type(units).__name__)
    return units


def control_of(unit: Mapping[str, Any]) -> dict[str, Any]:
    """One unit; what it says of networks that make maps of pictures is refused."""
    known, found = specs(Control), {}
    for theirs, name in SPELLINGS.items():
        if (value := unit.get(theirs)) is None:
            continue
        words = NUMBERED.get(theirs, ())
        if type(value) is int and value in range(len(words)):
            value = words[value]
        found[name] = read(name, known[name], value) if isinstance(value, str) else value
    model = unit.get("model")
    if not isinstance(model, str) or model in ("", "None"):
        raise RequestError("controls", "name a model each", repr(model)[:100])
    image = unit.get("image") or unit.get("input_image")
    image = image.get("image") if isinstance(image, Mapping) else image
    return found | {"file": re.sub(r" \[\w*\]$", "", model), "image": image}


@router.get("/model_list", response_class=Json)
def models(service: Serving) -> Response:
    """The ControlNets that units may name."""
    return Json({"model_list": service.adapters.controls})


@router.get("/module_list", response_class=Json)
def modules() -> Response:
    """The preprocessors, by A1111's names."""
    return Json({"module_list": [PREPROCESSORS.write(word) for word in PREPROCESSORS.words]})
