"""From the template of a prompt to the words of a picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sfumato.request.fields import RequestError

if TYPE_CHECKING:
    from sfumato.request.request import Request

TEMPLATES = {"prompt": "template", "negative_prompt": "negative_template"}
"""The fields whose words are drawn, and those that keep what they were drawn from."""


def drawn(request: Request) -> Request:
    """The request with its words drawn by its seed, the templates noted, and its tags taken out.

    Raises:
        RequestError: a prompt names a wildcard or a LoRA that is not there.
    """
    found = _drawn(request)
    if found.lora_folder is None:
        return found
    from sfumato.request.loras import with_tags

    return with_tags(found)


def is_template(request: Request) -> bool:
    """Whether the words of a request may be drawn."""
    words = "".join(getattr(request, name) or "" for name in TEMPLATES)
    return request.prompt_syntax != "plain" and bool(request.wildcards or "{" in words)


def _drawn(request: Request) -> Request:
    if not is_template(request):
        return request
    from sfumato.text.dynamic import draw

    changes: dict[str, Any] = {"wildcards": {}}
    for name, template in TEMPLATES.items():
        text = getattr(request, name) or ""
        try:
            changes[name] = draw(text, f"{request.seed} {name}", request.wildcards)
        except ValueError as error:
            lists = ", ".join(request.wildcards)
            raise RequestError("wildcards", str(error), lists) from error
        if changes[name] == text:
            del changes[name]
        else:
            changes[template] = text
    return replace(request, **changes)
