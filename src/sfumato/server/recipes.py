"""Recipes: what a picture or a text says, as a request, and a request in other forms."""

from __future__ import annotations

import io
from typing import Any

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from sfumato.pictures import files
from sfumato.pictures.recipe import VERSION, Recipe, read_text, write_text
from sfumato.request import Request, RequestError
from sfumato.request.wording import command_line, python
from sfumato.server import wire
from sfumato.server.errors import ApiError, not_found
from sfumato.server.native import content_of
from sfumato.server.service import Service
from sfumato.server.wire import Json

router = APIRouter(prefix="/v1", tags=["native"])

OUR_NOISE = ("RNG", "NV")
"""The item that says where noise comes from, when it is where ours comes from."""

TEXT = 2**20
"""Characters of a text, as many as a picture may carry."""

BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/png": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "recipe": {"type": "string", "description": "text, as programs share it"},
                        "request": {"$ref": "#/components/schemas/Request"},
                    },
                }
            },
        },
    }
}


@router.post("/recipes", openapi_extra=BODY, response_class=Json)
async def read_recipe(http: HttpRequest) -> Response:
    """Read the recipe in a picture or a text, or say a request in other forms. Keeps nothing."""
    service = http.app.state.service
    content = await content_of(http)
    if not http.headers.get("content-type", "").startswith("application/json"):
        return Json(await run_in_threadpool(_of_picture, content, service))
    values = await run_in_threadpool(wire.parse_json, content)
    if isinstance(text := values.get("recipe"), str):
        if len(text) > TEXT:
            raise ApiError("invalid_request", f"The text must have at most {TEXT} characters.")
        recipe = await run_in_threadpool(read_text, text)
        return Json(_told(recipe, "text"))
    if isinstance(asked := values.get("request"), dict):
        request = await run_in_threadpool(wire.request_of, asked, service)
        return Json(_forms(request) | {"recipe": write_text(request.recipe())})
    raise ApiError("invalid_request", "The body must have a `recipe` or a `request`.")


def _of_picture(content: bytes, service: Service) -> dict[str, Any]:
    """What the file of a picture tells; it is checked as one that is painted from."""
    wire.decoded("file", content, service)
    try:
        recipe = files.load_recipe(io.BytesIO(content), service.settings.max_pixels)
    except ValueError:  # in a form that cannot be read
        recipe = None
    return _told(recipe, "picture")


def _told(recipe: Recipe | None, where: str) -> dict[str, Any]:
    """The request that a recipe states, or why it states none."""
    if recipe is None:
        raise not_found(f"recipe in this {where}")
    unread = {k: v for k, v in Request.unread(recipe).items() if (k, v) != OUR_NOISE}
    unread.pop(VERSION, None)
    facts = {"recipe": write_text(recipe), "unread": unread}
    try:
        request = Request.from_recipe(recipe)
    except RequestError as error:
        return facts | {"request": None, "error": str(error)}
    # Recipes have no pictures, and without theirs these cannot be asked for.
    networks = {n: v for n, v in request.to_json().items() if n in wire.SHOWN}
    return facts | _forms(request) | {"without_pictures": networks}


def _forms(request: Request) -> dict[str, Any]:
    plain = request.changed(image=None, mask=None, controls=(), image_prompts=())
    return {
        "request": plain.to_json(),
        "command": command_line(request),
        "python": python(request),
    }
