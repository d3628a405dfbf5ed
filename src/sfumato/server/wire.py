"""Bodies in and out: JSON that is checked, pictures of clients, answers and streams of events."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from sfumato.pictures import files
from sfumato.pictures.pixels import as_mask
from sfumato.request import Request, RequestError
from sfumato.request.control import Control
from sfumato.request.fields import specs
from sfumato.request.image_prompts import ImagePrompt
from sfumato.request.room_kinds import Pixels
from sfumato.server.errors import ApiError
from sfumato.server.jobs import ENDS, Event, Job
from sfumato.server.limits import check_controls, check_pixels
from sfumato.server.service import Service

Made = TypeVar("Made")

SHOWN: dict[str, type[Control] | type[ImagePrompt]] = {
    "controls": Control,
    "image_prompts": ImagePrompt,
}
"""The fields of networks that are shown pictures."""

GRAIN = 8
"""Pixels of which all sides are multiples."""
DECODING = threading.BoundedSemaphore(4)
"""Pictures of clients that are decoded at once: each may take hundreds of megabytes."""


class Json(Response):
    """An answer in JSON; ASCII, as a prompt may hold what UTF-8 cannot."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


def body_of(schema: dict[str, Any], kind: str = "application/json") -> dict[str, Any]:
    """The description of a body in OpenAPI, for a path that reads it by itself."""
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema}}}}


async def read_json(http: HttpRequest) -> dict[str, Any]:
    """The object in the body of a request.

    Raises:
        ApiError: there is none, or it has what JSON does not have, such as NaN.
    """
    body = await http.body()
    return await run_in_threadpool(parse_json, body)


def parse_json(body: bytes) -> dict[str, Any]:
    """The object that a text in JSON is."""
    if not body:
        return {}

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no number of JSON")

    try:
        value = json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ApiError("invalid_json", "The body must be JSON.") from error
    if not isinstance(value, dict):
        raise ApiError("invalid_json", "The body must be an object of JSON.")
    return value


# Pictures of clients


def request_of(values: dict[str, Any], service: Service, **changes: Any) -> Request:
    """The request that JSON asks for; a picture is a data URL, an upload's or a picture's id.

    Args:
        values: the fields.
        service: has the uploads.
        changes: further fields, in their own types.
    """
    kinds = {n: s.kind for n, s in specs(Request).items() if isinstance(s.kind, Pixels)}
    plain = {name: value for name, value in values.items() if name not in kinds}
    given = {name: values[name] for name in kinds if values.get(name) is not None}
    pictures: dict[str, Any] = {
        n: picture_of(n, text, service, kinds[n].mask) for n, text in given.items()
    }
    for name in SHOWN:
        if isinstance(plain.get(name), list):
            check_controls(name, len(plain[name]), service.settings)
            pictures[name] = [shown(name, each, service) for each in plain.pop(name)]
    request = Request.from_json(plain)
    return request.changed(**{**pictures, "image_name": request.image_name, **changes})


def shown(name: str, values: Any, service: Service) -> Control | ImagePrompt:
    """A network that is shown a picture, which is named as others are."""
    if not isinstance(values, dict):
        raise RequestError(name, "be objects of JSON", type(values).__name__)
    given = SHOWN[name].from_json({n: v for n, v in values.items() if n != "image"})
    if values.get("image") is None:
        return given
    return replace(given, image=picture_of(name, values["image"], service))


def picture_of(name: str, text: Any, service: Service, is_mask: bool = False) -> np.ndarray:
    """The pixels of a field: a data URL, base64, "upload:ID" or "picture:ID"."""
    if not isinstance(text, str):
        raise RequestError(name, "be a data URL or the id of an upload", type(text).__name__)
    kind, _, rest = text.partition(":")
    find: dict[str, Callable[[str], Path | None]] = {
        "upload": service.history.upload,
        "picture": service.history.picture,
    }
    if kind in find:
        path = find[kind](rest)
        if path is None:
            raise RequestError(name, "be the id of what is here", text[:100])
        return decoded(name, path.read_bytes(), service, is_mask)
    return decoded(name, from_base64(name, text), service, is_mask)


def from_base64(name: str, text: str) -> bytes:
    """The content of a data URL, or of bare base64 as A1111's clients send it."""
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            raise RequestError(name, "be a data URL in base64", head[:100])
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(name, "be a picture in base64", "other text") from error


def decoded(name: str, content: bytes, service: Service, is_mask: bool = False) -> np.ndarray:
    """The pixels of a file that a client sent, whose size is checked before it is decoded."""
    try:
        with DECODING, files.opened(io.BytesIO(content)) as picture:
            check_pixels(name, picture.width, picture.height, service.settings)
            pixels = as_mask(picture) if is_mask else files.upright(picture)
    except RequestError:
        raise
    except (ValueError, MemoryError) as error:  # their words name Python's objects
        must = "be a PNG, JPEG or WebP picture that is whole"
        raise RequestError(name, must, "other content") from error
    pixels.flags.writeable = False
    return pixels


def sides_like(image: np.ndarray, service: Service, model: str) -> dict[str, int]:
    """Width and height as large as a model paints, in the shape of a picture."""
    H, W = image.shape[:2]
    ratio = min(1.0, service.models.facts(model).get("size", 512) / (H * W) ** 0.5)
    return {
        name: max(round(ratio * n / GRAIN), 1) * GRAIN for name, n in (("width", W), ("height", H))
    }


# Waiting


async def events_of(job: Job, after: int = 0) -> AsyncIterator[Event]:
    """The events of a job after that of a number, as they come, up to its end."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(changed.set)

    stop = job.listen(wake)
    try:
        while True:
            changed.clear()
            for event in job.since(after):
                after = event.number
                yield event
                if event.name in ENDS:
                    return
            await changed.wait()
    finally:
        stop()


async def ended(job: Job) -> None:
    """Wait for the end of a job."""
    async for _ in events_of(job):
        pass


async def finished(job: Job, http: HttpRequest, service: Service) -> None:
    """Wait for a job; it is cancelled if the client goes away.

    Raises:
        ApiError: the job failed.
    """
    end, gone = asyncio.ensure_future(ended(job)), asyncio.ensure_future(disconnected(http))
    try:
        await asyncio.wait((end, gone), return_when=asyncio.FIRST_COMPLETED)
        if not end.done():
            await run_in_threadpool(service.cancel, job)
            raise ApiError("client_closed", "The client went away.")
    finally:
        if not job.has_ended:  # this task was cancelled
            service.cancel(job)
        end.cancel()
        gone.cancel()
    if job.failure is not None:
        raise ApiError.failed(job.failure)


async def disconnected(http: HttpRequest) -> None:
    """Wait until the client goes away; the body has been read."""
    with suppress(ClientDisconnect):
        while (await http.receive())["type"] != "http.disconnect":
            pass
