"""Rows of a table and lines of a file: the fields that each states, and its seed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from sfumato.request.fields import read, specs
from sfumato.request.request import Request
from sfumato.request.room_kinds import Pixels


def fields_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that values of JSON state, in their own types; it is no request yet.

    Raises:
        RequestError: one is no field, or cannot be; no prompt is given.
    """
    request = Request.from_json(values)
    names = {*values} | ({"schedule"} if request.schedule else set())  # "DPM++ 2M Karras" has both
    return {name: getattr(request, name) for name in names}


def fields_of_texts(texts: Mapping[str, str]) -> dict[str, Any]:
    """The same of texts, as the command line takes them; pictures are data URLs."""
    known = specs(Request, texts)
    values = {
        name: text if isinstance(known[name].kind, Pixels) else read(name, known[name], text)
        for name, text in texts.items()
    }
    pictures = {name: values.pop(name) for name in ("image", "mask") if name in values}
    prompt = {name: values[name] for name in ("prompt",) if name in values}
    return values | fields_of(prompt | pictures)


def seeded(fields: dict[str, Any], given: Mapping[str, Any], words: str) -> dict[str, Any]:
    """The fields with the seeds that they leave open, which follow from words.

    Args:
        fields: of one request.
        given: what it leaves open.
        words: the same ones make the same seeds, so that the same command asks for the same.
    """
    known = {**given, **fields}
    names = ("seed", "variation_seed") if known.get("variation_strength") else ("seed",)
    drawn = {n: zlib.crc32(f"{n} {words}".encode()) for n in names if known.get(n) is None}
    return fields | drawn
