"""The page: static files of the package, which speak to the native API."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import Response

from sfumato.server.errors import not_found

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parent / "page"
MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FILES = {path.name: path for path in FOLDER.iterdir() if path.suffix in MEDIA}
"""All that is served, by name: no name of a client ever becomes a path."""

RULES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self'",
    "form-action": "'none'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
POLICY = "; ".join(f"{name} {value}" for name, value in RULES.items())
"""Nothing inline, nothing from elsewhere, and no text that a browser would read as HTML."""


@router.api_route("/", methods=["GET", "HEAD"])
def show_page(http: HttpRequest) -> Response:
    """The page."""
    return _answer(http, "index.html")


@router.api_route("/page/{name}", methods=["GET", "HEAD"])
def show_file(name: str, http: HttpRequest) -> Response:
    """A file of the page."""
    return _answer(http, name)


def _answer(http: HttpRequest, name: str) -> Response:
    path = FILES.get(name)
    if path is None:
        raise not_found("file")
    content = path.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {
        "Cache-Control": "no-cache",  # asked for again each time, sent only if it changed
        "Content-Security-Policy": POLICY,
        "Cross-Origin-Opener-Policy": "same-origin",
        "ETag": tag,
    }
    if http.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=MEDIA[path.suffix], headers=headers)
