"""Pictures made larger, in A1111's words."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sfumato._numbers import as_number
from sfumato.pictures import files
from sfumato.presets import upscalers
from sfumato.request import RequestError
from sfumato.server import wire
from sfumato.server.limits import check_pixels
from sfumato.server.service import Service

PLAIN = "lanczos"
"""What A1111 does where no upscaler is chosen."""


def larger(text: Any, values: Mapping[str, Any], service: Service) -> Callable[[], str]:
    """The work of making a picture larger, by a factor or to a size; base64 in and out."""
    pixels = wire.picture_of("image", text, service)
    name = _upscaler(values.get("upscaler_1") or "None")
    H, W, _ = pixels.shape
    width, height = _size(W, H, values)
    inner = width, height
    if values.get("resize_mode", 0) == 1 and values.get("upscaling_crop", True):
        factor = max(width / W, height / H)
        inner = max(round(factor * W), width), max(round(factor * H), height)
    for sides in ((width, height), inner):
        if min(sides) < 1:
            raise RequestError("upscaling_resize", "leave a picture", f"{width}x{height}")
        check_pixels("upscaling_resize", *sides, service.settings)
    left, top = (inner[0] - width) // 2, (inner[1] - height) // 2

    def work() -> str:
        from sfumato.upscaling import enlarged

        made = enlarged(pixels, (inner[1], inner[0]), name)
        made = np.ascontiguousarray(made[top : top + height, left : left + width])
        return base64.b64encode(files.encode(made)).decode()

    return work


def _upscaler(label: Any) -> str:
    """The upscaler of a name that is listed; a client names no file."""
    names = [upscalers.label(name) for name in upscalers.PICTURES]
    if label == "None":
        return PLAIN
    if not isinstance(label, str) or label.casefold() not in map(str.casefold, names):
        must = f"be one of None, {', '.join(names)}"
        raise RequestError("upscaler_1", must, repr(label)[:100])
    return upscalers.find(label)


def _size(W: int, H: int, values: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height that are asked for."""
    try:
        if values.get("resize_mode", 0) == 1:
            names = ("upscaling_resize_w", "upscaling_resize_h")
            width, height = (as_number(values.get(side)) for side in names)
        else:
            factor = as_number(values.get("upscaling_resize", 2))
            width, height = factor * W, factor * H
        return round(width), round(height)
    except (TypeError, ValueError, OverflowError) as error:
        raise RequestError("upscaling_resize", "be a number", "other") from error
