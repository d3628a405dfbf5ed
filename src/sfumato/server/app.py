"""The application: the APIs behind one door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from sfumato import __version__
from sfumato.request import Request, RequestError
from sfumato.server import mcp, native, openai, recipes, sdapi, sdapi_controls, sdapi_extras, web
from sfumato.server.door import Door
from sfumato.server.errors import ApiError, invalid
from sfumato.server.queue import ClosedError, QueueFullError
from sfumato.server.service import Service
from sfumato.server.wire import Json

TITLE = "Sfumato"
ERRORS = "An error, with its code and words that say what is wrong"


def make_app(service: Service) -> ASGIApp:
    """The application of a service; it starts the service's worker and does not stop it."""
    app = FastAPI(
        title=TITLE,
        version=__version__,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=_lifespan,
        default_response_class=Json,
        redirect_slashes=False,
    )
    app.state.service = service
    for api in (native, recipes, openai, sdapi, sdapi_controls, sdapi_extras, web):
        app.include_router(api.router)
    route, app.state.mcp = mcp.over_http(service)
    app.router.routes.append(route)
    _add_health(app, service)
    for kind in (ApiError, RequestError, QueueFullError, ClosedError):
        app.add_exception_handler(kind, _refuse)
    app.add_exception_handler(Exception, _refuse)  # the door has the trace
    app.add_exception_handler(RequestValidationError, _refuse_query)
    app.add_exception_handler(HTTPException, _refuse_path)
    app.openapi = lambda: _openapi(app)
    return Door(app, service.settings, service.metrics)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.service.start()
    async with app.state.mcp.run():
        yield


def _add_health(app: FastAPI, service: Service) -> None:
    """Paths for whoever watches the process."""

    @app.get("/healthz", tags=["health"])
    def health() -> Response:
        """Whether the process works."""
        alive = service.is_alive
        return Json({"status": "ok" if alive else "broken"}, 200 if alive else 503)

    @app.get("/readyz", tags=["health"])
    def ready() -> Response:
        """Whether the server takes requests."""
        is_ready = service.is_alive and not service.is_draining
        return Json({"status": "ready" if is_ready else "draining"}, 200 if is_ready else 503)

    if service.settings.metrics:

        @app.get("/metrics", tags=["health"], response_class=PlainTextResponse)
        def metrics() -> Response:
            """Figures for Prometheus."""
            return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _answer(http: HttpRequest, error: ApiError) -> Response:
    body = error.body(http.scope["path"], http.scope["request_id"])
    return Json(body, error.status, error.headers)


async def _refuse(http: HttpRequest, error: Exception) -> Response:
    return _answer(http, ApiError.of(error))


async def _refuse_query(http: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return _answer(http, invalid(ValueError(f"`{name}`: {first['msg']}"), name))


async def _refuse_path(http: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    return _answer(http, ApiError(code, str(error.detail)))


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The description of all APIs; that of a request is made from its declaration."""
    if app.openapi_schema is None:
        schema = get_openapi(title=TITLE, version=__version__, routes=app.routes)
        for operation in [each for path in schema["paths"].values() for each in path.values()]:
            operation["responses"].pop("422", None)  # FastAPI's own, in place of which we say why
            operation["responses"]["default"] = {"description": ERRORS}
        schema["components"] = {"schemas": {"Request": Request.schema()}}
        app.openapi_schema = schema
    return app.openapi_schema
