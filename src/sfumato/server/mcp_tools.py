"""The tools of MCP as a language model reads them: few fields in plain words, with the limits."""

from __future__ import annotations

import re
from typing import Any

from mcp import types

from sfumato.request import Request
from sfumato.request.fields import specs
from sfumato.server.service import Service

FIELDS = ("negative_prompt", "model", "width", "height", "steps", "guidance", "seed", "count")
"""The fields that are described, besides those of a tool's own."""
ABOUT = {
    "prompt": "what the picture shows, in plain words",
    "negative_prompt": "what the picture must not show",
    "model": "who paints; list_models has them (default: the first)",
    "image": "the picture to begin from: its `picture`, `path` or `url` as an answer told it, "
    "or a data URL",
    "mask": "the same kind of picture, white where to paint, black where to keep",
    "loras": 'styles of list_models with their weight: [["film", 0.8]]',
    "wait": "false: answer at once with a job, for get_status, when a picture takes minutes",
    "job": "the id that a tool told",
}
"""Descriptions for who does not know our command line; the others are the fields' own."""
DOES = types.ToolAnnotations(destructive_hint=False, open_world_hint=False)
LOOKS = types.ToolAnnotations(read_only_hint=True, open_world_hint=False)
JOB = {"type": "string", "description": ABOUT["job"]}


def described(service: Service) -> list[types.Tool]:
    """The tools as a language model reads them."""
    told = "Answers with each picture, its seed, and where its file is."
    again = f"Paint a picture again, after words: all of it, or where a mask is white. {told}"
    return [
        _painting(service, "generate_image", f"Paint a picture from words. {told}", "prompt"),
        _painting(service, "edit_image", again, "image", "prompt", more=("strength", "mask")),
        _tool("list_models", "The models that paint, their sizes, and the LoRAs.", LOOKS, {}),
        _tool("get_status", "What is painted and what waits, or one job.", LOOKS, {"job": JOB}),
        _tool("cancel", "Stop a job, or all that you asked for.", DOES, {"job": JOB}),
    ]


def _painting(service: Service, name: str, text: str, *required: str, more: Any = ()) -> types.Tool:
    """A tool that paints."""
    loras = ("loras",) if service.adapters.loras else ()
    fields = {field: _field(field, service) for field in (*required, *more, *FIELDS, *loras)}
    wait = {"type": "boolean", "default": True, "description": ABOUT["wait"]}
    return _tool(name, text, DOES, fields | {"wait": wait}, required)


def _field(name: str, service: Service) -> dict[str, Any]:
    """The schema of a field of a request, with the limits of this server."""
    settings, spec = service.settings, specs(Request)[name]
    most = {
        "width": settings.max_side,
        "height": settings.max_side,
        "steps": settings.max_steps,
        "count": settings.max_count,
    }
    own = {
        "model": {"type": "string", "enum": [*settings.models]},
        "image": {"type": "string"},
        "mask": {"type": "string"},
        "loras": {"type": "array", "items": {"type": "array"}},
    }
    schema = own.get(name) or spec.kind.schema()
    if name in most:
        schema = schema | {"maximum": most[name]}
    help_ = re.sub(r" \[(.*)\]$", r" (default: \1)", spec.help)
    return schema | {"description": ABOUT.get(name, help_)}


def _tool(
    name: str, text: str, hints: types.ToolAnnotations, fields: Any, required: Any = ()
) -> types.Tool:
    schema = {"type": "object", "properties": fields, "required": [*required]}
    return types.Tool(name=name, description=text, input_schema=schema, annotations=hints)
