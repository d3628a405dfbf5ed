"""Pictures that are there already, in A1111's words: what they carry, and larger ones of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from sfumato._numbers import as_number
from sfumato.pictures import files
from sfumato.pictures.recipe import write_text
from sfumato.presets import upscalers
from sfumato.request import RequestError
from sfumato.server import wire
from sfumato.server.limits import check_pixels
from sfumato.server.native import Client, Serving, Values
from sfumato.server.sdapi_order import NO_UPSCALER, PLAIN
from sfumato.server.service import Service
from sfumato.server.wire import Json

router = APIRouter(prefix="/sdapi/v1", tags=["A1111"])

IMAGE = {"type": "string", "description": "a picture in base64, or a data URL"}
SENT = wire.body_of({"type": "object", "properties": {"image": IMAGE}, "required": ["image"]})
LARGER = {
    "upscaler_1": {"type": "string", "description": "of the list `upscalers`"},
    "resize_mode": {"enum": [0, 1], "description": "0: by a factor; 1: to a size"},
    "upscaling_resize": {"type": "number"},
    "upscaling_resize_w": {"type": "integer"},
    "upscaling_resize_h": {"type": "integer"},
    "upscaling_crop": {"type": "boolean"},
}
ENLARGED = wire.body_of({"type": "object", "properties": {"image": IMAGE} | LARGER})
LISTED = {
    "type": "array",
    "items": {"type": "object", "properties": {"data": IMAGE, "name": {"type": "string"}}},
}
BATCH = wire.body_of({"type": "object", "properties": {"imageList": LISTED} | LARGER})


@router.post("/png-info", openapi_extra=SENT, response_class=Json)
def png_info(values: Values, service: Serving) -> Response:
    """The recipe that a picture carries."""
    text = values.get("image")
    if not isinstance(text, str):
        raise RequestError("image", "be a picture in base64", type(text).__name__)
    content = wire.from_base64("image", text)
    wire.decoded("image", content, service)
    try:
        recipe = files.load_recipe(io.BytesIO(content))
    except ValueError:  # another program's, which is not read
        recipe = None
    if recipe is None:
        return Json({"info": "", "items": {}, "parameters": {}})
    written = write_text(recipe)
    parameters = {
        "Prompt": recipe.prompt,
        "Negative prompt": recipe.negative_prompt,
        **recipe.items,
    }
    return Json({"info": written, "items": {"parameters": written}, "parameters": parameters})


@router.post("/extra-single-image", openapi_extra=ENLARGED, response_class=Json)
async def extra_single_image(
    http: HttpRequest, values: Values, service: Serving, client: Client
) -> Response:
    """A picture made larger."""
    images = await enlarge(http, [values.get("image")], values, service, client)
    return Json({"html_info": "", "image": images[0]})


@router.post("/extra-batch-images", openapi_extra=BATCH, response_class=Json)
async def extra_batch_images(
    http: HttpRequest, values: Values, service: Serving, client: Client
) -> Response:
    """Pictures made larger."""
    listed = values.get("imageList")
    if not isinstance(listed, list) or len(listed) > service.settings.max_count:
        must = f"be a list of at most {service.settings.max_count} pictures"
        raise RequestError("imageList", must, type(listed).__name__)
    sent = [each.get("data") if isinstance(each, dict) else None for each in listed]
    images = await enlarge(http, sent, values, service, client)
    return Json({"html_info": "", "images": images})


async def enlarge(
    http: HttpRequest, sent: list[Any], values: dict[str, Any], service: Service, client: str
) -> list[str]:
    """Pictures made larger by the worker, each in its turn."""
    images = []
    for text in sent:
        work = await run_in_threadpool(larger, text, values, service)
        errand = service.run(work, client)
        await wire.finished(errand, http, service)
        images.append(errand.result)
    return images


def larger(text: Any, values: Mapping[str, Any], service: Service) -> Callable[[], str]:
    """The work of making a picture larger, by a factor or to a size; base64 in and out."""
    pixels = wire.picture_of("image", text, service)
    name = _upscaler(values.get("upscaler_1") or NO_UPSCALER)
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
    if label == NO_UPSCALER:
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
