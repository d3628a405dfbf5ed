"""OpenAI's images API: generations, edits, variations and models, whole or as a stream.

Fields of a `Request` may stand next to OpenAI's own, under their names or those of other servers.
A field that says nothing to us, such as `quality`, is let pass.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends
from fastapi import Request as HttpRequest
from fastapi.responses import Response
from PIL import Image
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from sfumato.pictures import files
from sfumato.pictures.pixels import from_data_url
from sfumato.pictures.recipe import read_text
from sfumato.server import wire
from sfumato.server.errors import ApiError, not_found
from sfumato.server.jobs import DONE, ENDS, Job
from sfumato.server.native import PING, Client, Serving
from sfumato.server.openai_order import FORMATS, Order
from sfumato.server.service import Service
from sfumato.server.wire import Json

router = APIRouter(prefix="/v1", tags=["OpenAI"])

ALIAS = "dall-e-3"
"""The name that is listed for clients which look for one of OpenAI's."""

NOTHING = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}
"""The use of tokens, which clients may add up."""


async def given_in(http: HttpRequest) -> dict[str, Any]:
    """The fields of a body in JSON or of a form, whose files are bytes."""
    if not http.headers.get("content-type", "").startswith("multipart/"):
        return await wire.read_json(http)
    values: dict[str, Any] = {}
    async with http.form(max_files=17, max_fields=100, max_part_size=2**20) as form:
        for key, value in form.multi_items():
            name = re.sub(r"\[\d*\]$", "", key)  # `image[]`: one of several
            if isinstance(value, UploadFile):
                values.setdefault(name, []).append(await value.read())
            else:
                values[name] = value
    return values


Given = Annotated[dict[str, Any], Depends(given_in)]


ASKED = wire.body_of(
    {
        "type": "object",
        "required": ["prompt"],
        "properties": {
            "prompt": {"type": "string"},
            "model": {"type": "string"},
            "n": {"type": "integer", "minimum": 1},
            "size": {"type": "string", "examples": ["auto", "512x768"]},
            "response_format": {"enum": ["b64_json", "url"]},
            "output_format": {"enum": [*FORMATS]},
            "output_compression": {"type": "integer", "minimum": 0, "maximum": 100},
            "stream": {"type": "boolean"},
            "partial_images": {"type": "integer", "minimum": 0, "maximum": 3},
        },
        "additionalProperties": True,
    }
)
PART = {"type": "string", "format": "binary"}
SENT = wire.body_of(
    {"type": "object", "properties": {"image": PART, "mask": PART, "prompt": {"type": "string"}}},
    "multipart/form-data",
)


# Requests


@router.post("/images/generations", openapi_extra=ASKED, response_class=Json)
async def generate(http: HttpRequest, given: Given, service: Serving, client: Client) -> Response:
    """Make pictures of a prompt."""
    return await paint(http, Order(given, service), client)


@router.post("/images/edits", openapi_extra=SENT, response_class=Json)
async def edit(http: HttpRequest, given: Given, service: Serving, client: Client) -> Response:
    """Paint a picture again: where the mask is transparent, or all of it."""
    return await paint(http, Order(given, service, begins="image"), client)


@router.post("/images/variations", openapi_extra=SENT, response_class=Json)
async def vary(http: HttpRequest, given: Given, service: Serving, client: Client) -> Response:
    """Make pictures that are like another."""
    return await paint(http, Order({"prompt": ""} | given, service, begins="image"), client)


@router.get("/models", response_class=Json)
def list_models(service: Serving) -> Response:
    """The models by the names that requests may say."""
    names = [*service.settings.models, *([ALIAS] if service.settings.openai_names else [])]
    return Json({"object": "list", "data": [about(name, service) for name in names]})


@router.get("/models/{name:path}", response_class=Json)
def show_model(name: str, service: Serving) -> Response:
    """One model."""
    if name not in service.settings.models:
        raise not_found("model")
    return Json(about(name, service))


def about(name: str, service: Service) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": service.began, "owned_by": "sfumato"}


async def paint(http: HttpRequest, order: Order, client: str) -> Response:
    """Make the pictures of an order and answer with them, whole or as a stream."""
    job = await run_in_threadpool(order.submit, client)
    answer = Answer(order, job)
    if order.stream:
        return EventSourceResponse(answer.events(), ping=PING)
    await wire.finished(job, http, order.service)
    return Json(await run_in_threadpool(answer.whole, str(http.base_url)))


class Answer:
    """The pictures of a job in OpenAI's words."""

    def __init__(self, order: Order, job: Job) -> None:
        self.order, self.job, self.service = order, job, order.service

    def whole(self, base: str) -> dict[str, Any]:
        """All pictures at once."""
        made = [
            {"url": f"{base}v1/pictures/{each['id']}"}
            if self.order.as_url
            else {"b64_json": self._encoded(each)}
            for each in self.job.pictures
        ]
        data = [one | self._words(each) for one, each in zip(made, self.job.pictures, strict=True)]
        return {"created": int(self.job.created), "data": data, **self._about(), "usage": NOTHING}

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """The job as a stream of partial and of whole pictures; who leaves it cancels the job."""
        kind, index = "image_edit" if self.order.begins else "image_generation", 0
        about = {"created_at": int(self.job.created), **self._about()}
        try:
            async for event in wire.events_of(self.job):
                if event.name == "partial":
                    for preview in event.data["previews"]:
                        text = await run_in_threadpool(self._partial, preview)
                        facts = {"b64_json": text, "partial_image_index": index}
                        yield sent(f"{kind}.partial_image", about | facts)
                        index += 1
                elif event.name == "picture":
                    text = await run_in_threadpool(self._encoded, event.data)
                    facts = {"b64_json": text, "usage": NOTHING}
                    yield sent(f"{kind}.completed", about | facts)
                elif event.name in ENDS and event.name != DONE and self.job.failure:
                    error = ApiError.failed(self.job.failure).body("/v1/images", self.job.id)
                    yield {"event": "error", "data": json.dumps(error)}
        finally:
            if not self.job.has_ended:
                self.service.cancel(self.job)

    def _about(self) -> dict[str, Any]:
        made = self.job.pictures  # larger than the request says after a second pass
        request = self.job.request
        sides = made[0] if made else {"width": request.width, "height": request.height}
        size = f"{sides['width']}x{sides['height']}"
        known = {"background": "opaque", "output_format": self.order.format, "size": size}
        return known | {"quality": "auto"}

    def _words(self, picture: dict[str, Any]) -> dict[str, Any]:
        """The words of a picture where they were drawn, and its seed, which is ours to tell."""
        words = picture["request"]["prompt"]
        revised = {} if words == self.job.request.prompt else {"revised_prompt": words}
        return revised | {"seed": picture["seed"]}

    def _encoded(self, picture: dict[str, Any]) -> str:
        """The file of a picture in base64."""
        path = self.service.history.picture(picture["id"])
        if path is None:
            raise ApiError("internal", "The picture is no longer there.")
        content = path.read_bytes()
        if self.order.format != "png":
            recipe = read_text(picture["recipe"]) if self.service.settings.metadata else None
            content = files.encode(
                files.load(path), self.order.format, recipe, self.order.compression
            )
        return base64.b64encode(content).decode()

    def _partial(self, preview: str) -> str:
        """A preview as large as the picture will be."""
        size = (self.job.request.width or 0, self.job.request.height or 0)
        small = Image.fromarray(from_data_url(preview))
        pixels = np.array(small.resize(size, Image.Resampling.BICUBIC))
        return base64.b64encode(
            files.encode(pixels, self.order.format, None, self.order.compression)
        ).decode()


def sent(kind: str, facts: dict[str, Any]) -> dict[str, Any]:
    """An event of a stream."""
    return {"event": kind, "data": json.dumps({"type": kind} | facts)}
