"""MCP, by which language models ask for pictures: five tools, at `/mcp` and on stdio.

The fields are those of a `Request`. A description names the few that a model needs, the others are
taken, too. An answer has each picture, and a text with its seed and where its file is.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from sfumato import __version__
from sfumato.pictures import files
from sfumato.request import RequestError
from sfumato.server import wire
from sfumato.server.errors import ApiError, not_found
from sfumato.server.failures import Trouble
from sfumato.server.history import PICTURE
from sfumato.server.jobs import DONE, Job
from sfumato.server.mcp_tools import described
from sfumato.server.service import Service

log = logging.getLogger(__name__)

INSTRUCTIONS = "Paints pictures on this machine. A seed and the same fields give the same picture."
SESSIONS = 256
"""Clients over HTTP at once, each of which keeps a little memory."""
SHOWN = 2**19
"""Bytes of the pictures of an answer: clients refuse about a megabyte, and base64 adds a third."""
LEAST = 64
"""Pixels of a side below which a picture is not made smaller to be shown."""

OURS = re.compile(rf"(?:.*[/\\])?pictures[/\\]({PICTURE.pattern})(?:\.png)?")
"""The path or the address of a picture that was made here."""


class Tools:
    """The tools of a service."""

    def __init__(self, service: Service) -> None:
        self.service = service

    # Calls

    async def call(self, ctx: Any, name: str, given: Mapping[str, Any]) -> types.CallToolResult:
        """The answer of a tool; what the model did wrong is said to it, for it to do better."""
        values = {key: value for key, value in given.items() if value is not None}
        tools = {
            "generate_image": self._generate,
            "edit_image": self._edit,
            "list_models": self._models,
            "get_status": self._status,
            "cancel": self._cancel,
        }
        if name not in tools:
            raise MCPError(types.INVALID_PARAMS, f"There is no such tool: {_plain(name[:100])}")
        try:
            return types.CallToolResult(content=await tools[name](ctx, values))
        except Exception as error:  # noqa: BLE001  nobody shall read a traceback
            told = ApiError.of(error)
            if told.code == "internal":
                log.error("tool %s: %s", name, Trouble.of(error).text)
            said = types.TextContent(text=_plain(f"{told.code}: {told.message}"))
            return types.CallToolResult(content=[said], is_error=True)

    async def _generate(self, ctx: Any, values: dict[str, Any]) -> list[types.ContentBlock]:
        return await self._paint(ctx, values)

    async def _edit(self, ctx: Any, values: dict[str, Any]) -> list[types.ContentBlock]:
        if "image" not in values:
            raise RequestError("image", "be given", "nothing")
        return await self._paint(ctx, values)

    async def _models(self, ctx: Any, values: dict[str, Any]) -> list[types.ContentBlock]:
        names, service = self.service.settings.models, self.service
        facts = [{"name": n} | await run_in_threadpool(service.models.facts, n) for n in names]
        words = [*service.adapters.words]
        return [_json({"models": facts, "loras": service.adapters.loras, "embeddings": words})]

    async def _status(self, ctx: Any, values: dict[str, Any]) -> list[types.ContentBlock]:
        if "job" in values:
            job = self._job(values["job"])
            if job.state == DONE:
                return await run_in_threadpool(self._pictures, ctx, job)
            return [_json(self._about(job))]
        own = [job for job in self.service.live() if job.client == _client(ctx)]
        return [
            _json(
                {
                    "running": len(self.service.running()),
                    "waiting": len(self.service.queue),
                    "your_jobs": [self._about(job) for job in own],
                    "loaded_models": self.service.loaded,
                }
            )
        ]

    async def _cancel(self, ctx: Any, values: dict[str, Any]) -> list[types.ContentBlock]:
        live = self.service.live()
        own = [job for job in live if job.client == _client(ctx)]
        jobs = [self._job(values["job"])] if "job" in values else own
        for job in jobs:
            await run_in_threadpool(self.service.cancel, job)
        return [_json({"jobs": [self._about(job) for job in jobs]})]

    # Painting

    async def _paint(self, ctx: Any, values: dict[str, Any]) -> list[types.ContentBlock]:
        wait = values.pop("wait", True)
        job = await run_in_threadpool(self._submit, values, _client(ctx))
        if wait is False:
            return [_json(self._about(job))]
        try:
            await self._follow(ctx, job)
        finally:
            if not job.has_ended:  # the client cancelled the call, or went away
                self.service.cancel(job)
        return await run_in_threadpool(self._pictures, ctx, job)

    def _submit(self, values: dict[str, Any], client: str) -> Job:
        service = self.service
        service.check_room()
        pictures = {
            name: self._picture(name, values.pop(name))
            for name in ("image", "mask")
            if name in values
        }
        request = wire.request_of(values, service, **pictures)
        if request.image is not None and request.width is None and request.height is None:
            name = service.models.find(request.model)
            request = request.changed(**wire.sides_like(request.image, service, name))
        if request.image is not None and not {"resize", "inpaint_area"} & values.keys():
            request = request.changed(resize="crop")
        return service.submit(request, client)

    async def _follow(self, ctx: Any, job: Job) -> None:
        """Tell the client of each step, until the job ends."""
        before, total = 0.0, job.request.count * (job.request.steps or 1)
        async for event in wire.events_of(job):
            done = job.progress * total
            if event.name in ("step", "picture") and done > before:
                before = done
                said = f"picture {len(job.pictures)} of {job.request.count}"
                if event.name == "step":
                    said = f"step {event.data['step']} of {event.data['steps']}"
                await ctx.session.report_progress(done, total, said)
        if job.failure is not None:
            raise ApiError.failed(job.failure)

    def _picture(self, name: str, text: Any) -> np.ndarray:
        """The picture that a client names; a file only in the folder that the user allows."""
        service, is_mask = self.service, name == "mask"
        if isinstance(text, str):
            if found := OURS.fullmatch(text):
                return wire.picture_of(name, f"picture:{found[1]}", service, is_mask)
            is_data = text.startswith("data:")
            if not is_data and Path(text).suffix.lower().removeprefix(".") in files.READ:
                return wire.decoded(name, self._file(name, text), service, is_mask)
        return wire.picture_of(name, text, service, is_mask)

    def _file(self, name: str, text: str) -> bytes:
        folder = self.service.settings.pictures
        if folder is None:
            raise RequestError(name, "be a picture that was made here, or a data URL", text[:100])
        root = folder.expanduser().resolve()
        with suppress(OSError, ValueError):
            path = (root / text).resolve()  # where links lead
            if path.is_relative_to(root) and path.is_file():
                return path.read_bytes()
        raise RequestError(name, "be a file in the folder of `pictures`", text[:100])

    # Answers

    def _job(self, name: Any) -> Job:
        job = self.service.job(name) if isinstance(name, str) else None
        if job is None:
            raise not_found("job")
        return job

    def _about(self, job: Job) -> dict[str, Any]:
        facts = self.service.facts(job.id) or job.to_json()
        names = ("state", "model", "progress", "position", "error")
        return {"job": job.id} | {name: facts[name] for name in names if name in facts}

    def _pictures(self, ctx: Any, job: Job) -> list[types.ContentBlock]:
        """Each picture, and what is to be known of it."""
        content: list[types.ContentBlock] = []
        for each in job.pictures:
            path = self.service.history.picture(each["id"])
            if path is None:
                raise not_found("picture")
            where = {"path": str(path)}
            if ctx.request is not None:  # a path of this machine is nothing for others
                where = {"url": f"{ctx.request.base_url}v1/pictures/{each['id']}"}
            known = {name: each[name] for name in ("seed", "width", "height")}
            facts = {"picture": f"picture:{each['id']}"} | where | known | {"model": job.model}
            content += [_shown(path, SHOWN // len(job.pictures)), _json(facts)]
        return content


def _client(ctx: Any) -> str:
    """Whose turn a request takes: over HTTP by address, on stdio there is one client."""
    return ctx.request.client.host if ctx.request is not None and ctx.request.client else ""


def _plain(text: str) -> str:
    """Text that UTF-8 can hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def _json(facts: Any) -> types.TextContent:
    return types.TextContent(text=json.dumps(facts))


def _shown(path: Path, most: int) -> types.ImageContent:
    """A picture of at most so many bytes: its file, or a smaller JPEG."""
    content, kind = path.read_bytes(), "png"
    if len(content) > most:
        picture = Image.fromarray(files.load(path))
        while True:
            content, kind = files.encode(np.array(picture), "jpeg", None, 85), "jpeg"
            if len(content) <= most or min(picture.size) <= LEAST:
                break
            picture = picture.reduce(2)
    return types.ImageContent(data=base64.b64encode(content).decode(), mime_type=f"image/{kind}")


# The protocol


def server_of(service: Service) -> Server[Any]:
    """The tools of a service, for any way to speak to them."""
    tools = Tools(service)

    async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=described(service))

    async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        return await tools.call(ctx, params.name, params.arguments or {})

    return Server(
        "sfumato",
        version=__version__,
        title="Sfumato",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def over_http(service: Service) -> tuple[Route, StreamableHTTPSessionManager]:
    """The path of a service, and what must run while it is used; the door stands before it."""
    most = service.settings.max_body * 2**20
    manager = StreamableHTTPSessionManager(
        server_of(service), max_request_body_size=most, max_sessions=SESSIONS
    )
    return Route("/mcp", endpoint=StreamableHTTPASGIApp(manager)), manager
