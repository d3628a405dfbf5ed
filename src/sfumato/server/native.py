"""The native API: jobs, pictures, uploads, and what this server can do.

A job is a `Request` as JSON; its schema is made from the fields' declarations.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi import Request as HttpRequest
from fastapi.responses import FileResponse, Response
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from sfumato import __version__, diffusion
from sfumato.request import Request
from sfumato.server import wire
from sfumato.server.errors import not_found
from sfumato.server.jobs import ENDS, Job
from sfumato.server.limits import limits_of
from sfumato.server.service import Service
from sfumato.server.wire import Json

router = APIRouter(prefix="/v1", tags=["native"])

PING = 15
"""Seconds after which a silent stream says that it is alive."""

PICTURE = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
ASKED = wire.body_of({"$ref": "#/components/schemas/Request"})
SENT = {"requestBody": {"required": True, "content": PICTURE}}


def service_of(http: HttpRequest) -> Service:
    return http.app.state.service


def client_of(http: HttpRequest) -> str:
    """The client whose turn a request takes: by its address."""
    return http.client.host if http.client else ""


Serving = Annotated[Service, Depends(service_of)]
Client = Annotated[str, Depends(client_of)]
Values = Annotated[dict[str, Any], Depends(wire.read_json)]


def told(facts: dict[str, Any], service: Service) -> dict[str, Any]:
    """A job with the paths where more of it is."""
    place = f"{service.settings.root_path}/v1/jobs/{facts['id']}"
    pictures = [with_url(each, service) for each in facts["pictures"]]
    return facts | {"url": place, "events": f"{place}/events", "pictures": pictures}


def with_url(picture: dict[str, Any], service: Service) -> dict[str, Any]:
    """A picture with the path of its file."""
    return picture | {"url": f"{service.settings.root_path}/v1/pictures/{picture['id']}"}


# Jobs


@router.post("/jobs", status_code=202, openapi_extra=ASKED, response_class=Json)
def ask(values: Values, service: Serving, client: Client) -> Response:
    """Ask for pictures; the answer says where the job is."""
    service.check_room()
    job = service.submit(wire.request_of(values, service), client)
    facts = told(service.facts(job.id) or job.to_json(), service)
    return Json(facts, 202, {"Location": facts["url"]})


@router.get("/jobs", response_class=Json)
def list_jobs(
    service: Serving,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> Response:
    """The jobs, the newest first; `next` is the `before` of the next page."""
    page, following = service.history.page(limit, before)
    facts = [told(service.facts(job["id"]) or job, service) for job in page]
    return Json({"jobs": facts, "next": following})


@router.get("/jobs/{name}", response_class=Json)
def show_job(name: str, service: Serving) -> Response:
    """How a job stands."""
    facts = service.facts(name)
    if facts is None:
        raise not_found("job")
    return Json(told(facts, service))


@router.delete("/jobs/{name}", response_class=Json)
def cancel(name: str, service: Serving, forget: bool = False) -> Response:
    """Cancel a job, which stops within a step; `forget` its pictures, too, if it has ended."""
    job = service.job(name)
    if job is not None:
        service.cancel(job)
    facts = service.facts(name)
    if facts is None:
        raise not_found("job")
    if forget:
        service.forget(name)
    return Json(told(facts, service))


@router.get(
    "/jobs/{name}/events",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def listen(
    name: str, http: HttpRequest, service: Serving, previews: bool = True
) -> EventSourceResponse:
    """The events of a job as they come, as server-sent events; Last-Event-ID goes on."""
    job = service.job(name)
    after = int(last) if (last := http.headers.get("last-event-id", "")).isdecimal() else 0
    if job is not None:
        job.wants_previews = job.wants_previews or previews
        return EventSourceResponse(_stream(job, min(after, 2**62), service), ping=PING)
    facts = await run_in_threadpool(service.facts, name)
    if facts is None:
        raise not_found("job")
    return EventSourceResponse(_last(told(facts, service)), ping=PING)


async def _stream(job: Job, after: int, service: Service) -> AsyncIterator[dict[str, Any]]:
    async for event in wire.events_of(job, after):
        data = event.data
        if event.name == "picture":
            data = with_url(data, service)
        elif event.name in ENDS:
            data = told(job.to_json(), service)
        yield {"id": str(event.number), "event": event.name, "data": json.dumps(data)}


async def _last(facts: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """The one event of a job that ended long ago."""
    yield {"event": facts["state"], "data": json.dumps(facts)}


# Pictures


@router.get("/pictures/{name}", response_class=FileResponse, responses={200: {"content": PICTURE}})
def show_picture(name: str, service: Serving) -> Response:
    """A picture that was made: PNG, with its recipe inside."""
    path = service.history.picture(name)
    if path is None:
        raise not_found("picture")
    return _file(path)


@router.get("/pictures/{name}/recipe", response_class=Json)
def show_recipe(name: str, service: Serving) -> Response:
    """What a picture was made from: text that programs share, and the request."""
    facts = service.facts(name.partition("-")[0]) or {"pictures": []}
    for picture in facts["pictures"]:
        if picture["id"] == name:
            return Json(with_url(picture, service))
    raise not_found("picture")


@router.post("/uploads", status_code=201, openapi_extra=SENT, response_class=Json)
async def upload(http: HttpRequest, service: Serving, mask: bool = False) -> Response:
    """Send a picture, or a mask, as the body or as `file` of a form, for requests to name."""
    content = await content_of(http)
    return await run_in_threadpool(_kept, content, service, mask)


def _kept(content: bytes, service: Service, is_mask: bool) -> Response:
    pixels = wire.decoded("file", content, service, is_mask)
    name = service.history.add_upload(pixels)
    H, W = pixels.shape[:2]
    facts = {"id": f"upload:{name}", "width": W, "height": H, "url": f"/v1/uploads/{name}"}
    return Json(facts, 201, {"Location": facts["url"]})


@router.get("/uploads/{name}", response_class=FileResponse, responses={200: {"content": PICTURE}})
def show_upload(name: str, service: Serving) -> Response:
    """A picture that was sent."""
    path = service.history.upload(name)
    if path is None:
        raise not_found("upload")
    return _file(path)


async def content_of(http: HttpRequest) -> bytes:
    """The body, or the first file of a form."""
    if not http.headers.get("content-type", "").startswith("multipart/"):
        return await http.body()
    async with http.form(max_files=1, max_fields=8, max_part_size=2**16) as form:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        return await files[0].read() if files else b""


def _file(path: Any) -> Response:
    headers = {"Cache-Control": "private, max-age=31536000, immutable"}
    return FileResponse(path, media_type="image/png", headers=headers)


# What there is


@router.get("/capabilities", response_class=Json)
def capabilities(service: Serving) -> Response:
    """The models, samplers, schedules, limits and fields of this server."""
    default = service.settings.default_model
    models = [
        {"name": name, "default": name == default, "loaded": name in service.loaded}
        | service.models.facts(name)
        for name in service.settings.models
    ]
    samplers = [
        {"name": row.name, "label": row.label, "schedule": row.schedule, "options": [*row.options]}
        for row in diffusion.SAMPLERS.values()
    ]
    schedules = [
        {"name": row.name, "label": row.label, "options": [*row.options]}
        for row in diffusion.SCHEDULES.values()
    ]
    return Json(
        {
            "version": __version__,
            "models": models,
            "samplers": samplers,
            "schedules": schedules,
            "limits": limits_of(service.settings),
            "loras": service.adapters.loras,
            "controls": service.adapters.controls,
            "image_prompts": service.adapters.image_prompts,
            "embeddings": [*service.adapters.words],
            "formats": ["png", "jpeg", "webp"],
            "request": Request.schema(),
        }
    )
