"""The door: everything that must hold of a request before any API sees it.

Who may enter: with a token, those who show it, at every path but those of health. Whose pages may
call: those of this server, and origins that are listed; so no other web page can make a browser
use a server that listens at this machine, be it by its address or by a name of its own (DNS
rebinding). How much may come in: so many bytes, however they are sent.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import logging
import secrets
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sfumato.server.errors import ApiError
from sfumato.server.failures import Trouble
from sfumato.server.metrics import Metrics
from sfumato.server.settings import Settings

log = logging.getLogger(__name__)

OPEN = ("/healthz", "/readyz")
"""Paths that need no token, for whoever watches the process."""
PAGE = "/page/"
"""The files of the page, which asks for the token itself."""
QUIET = (*OPEN, "/metrics")
"""Paths that are asked so often that nobody wants them in the log."""
MEDIA = ("application/json", "multipart/form-data", "image/png", "image/jpeg", "image/webp")
"""The bodies that are read. A form of another page cannot send the first without asking."""

METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
"""Those that are counted by name, as a client may send any word."""
PATIENCE = 30
"""Seconds for the next part of a body to come."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Door:
    """Lets requests pass to an application, or answers them itself."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        token = settings.token
        self._token = None if token is None else _digest(token.get_secret_value().encode())
        self._names = {"localhost", *(name.lower() for name in settings.allowed_hosts)}
        self._most = settings.max_body * 2**20

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        start = time.perf_counter()
        headers = Headers(scope=scope)
        scope["request_id"] = name = secrets.token_hex(8)
        scope["root_path"] = self.settings.root_path  # a proxy may strip it or not
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = MutableHeaders(scope=message)
                for key, value in (HEADERS | self._cors(headers)).items():
                    given.setdefault(key, value)
                given["X-Request-Id"] = name
            await send(message)

        try:
            if scope["method"] == "OPTIONS":
                await respond(answer, 204, headers=self._preflight(headers))
                return
            self._check(scope, headers)
            await self.app(scope, self._limited(receive), answer)
        except Exception as error:  # noqa: BLE001  nobody shall read a traceback
            told = ApiError.of(error)
            if isinstance(error, ClientDisconnect):
                told = ApiError("client_closed", "The client went away.")
            elif told.code == "internal":
                log.error("request %s: %s", name, Trouble.of(error).text)
            if not status:  # the answer has not begun
                body = json.dumps(told.body(scope["path"], name)).encode()
                await respond(answer, told.status, body, told.headers)
        finally:
            self._note(scope, status, time.perf_counter() - start)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """Count and log an answer; never what a query or a body says."""
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.answered(method, status)
        level = logging.DEBUG if scope["path"] in QUIET else logging.INFO
        facts = (scope["method"], _shown(scope["path"]), status, 1000 * seconds)
        log.log(level, "%s %s %s %.0f ms %s", *facts, scope["request_id"])

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Refuse a request before its body is read."""
        self._check_origin(headers)
        if self._token is not None and not self._is_open(scope["path"]):
            self._check_token(headers.get("authorization", ""))
        if self._token is None and not self._is_ours(headers.get("host", "")):
            raise ApiError("forbidden", "This name of the server must be among allowed_hosts.")
        length, kind = headers.get("content-length"), headers.get("content-type")
        if length is not None and int(length) > self._most:
            raise self._too_large()
        if headers.get("content-encoding", "identity") != "identity":
            raise ApiError("unsupported_media_type", "A body must not be compressed.")
        has_body = "transfer-encoding" in headers or length not in (None, "0")
        media = (kind or "").partition(";")[0].strip().lower()
        if (kind or has_body) and scope["method"] not in ("GET", "HEAD") and media not in MEDIA:
            raise ApiError("unsupported_media_type", f"A body must be one of {', '.join(MEDIA)}.")

    def _is_open(self, path: str) -> bool:
        """Whether a path, with or without that of a proxy, needs no token."""
        path = path.removeprefix(self.settings.root_path) or "/"
        return path in OPEN or path == "/" or path.startswith(PAGE)

    def _check_origin(self, headers: Headers) -> None:
        """Refuse pages of elsewhere."""
        origin = headers.get("origin")
        if origin is None:
            site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
            if site == "cross-site" and mode != "navigate":
                raise ApiError("forbidden", "A page of elsewhere must not use this server.")
        elif not (self._is_listed(origin) or self._is_own(origin, headers.get("host", ""))):
            raise ApiError("forbidden", "The origin of this page must be among those of cors.")

    def _is_listed(self, origin: str) -> bool:
        return origin in self.settings.cors or "*" in self.settings.cors

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether an origin is this server, by the name that the client calls it."""
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and bool(host) and parts.netloc == host.lower()

    def _is_ours(self, host: str) -> bool:
        """Whether a host is an address or a name of this server: no page can choose its address."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name in self._names:
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _check_token(self, authorization: str) -> None:
        """Refuse all but the token: as a bearer's, a password, or whole in place of both."""
        scheme, _, secret = authorization.partition(" ")
        given = [secret.strip().encode()]
        if scheme.lower() == "basic":
            try:
                given = [base64.b64decode(secret, validate=True)]
            except binascii.Error:
                given = []
            given += [whole.partition(b":")[2] for whole in given]
        elif scheme.lower() != "bearer":
            given = []
        assert self._token is not None
        # Digests have one length, and all of them are compared.
        if not sum([hmac.compare_digest(_digest(each), self._token) for each in given]):
            raise ApiError("unauthorized", "The token of this server must be given.")

    def _cors(self, headers: Headers) -> dict[str, str]:
        origin = headers.get("origin", "")
        if not self._is_listed(origin):
            return {}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": "X-Request-Id, Location, Retry-After, Mcp-Session-Id",
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Vary": "Origin",
        }

    def _preflight(self, headers: Headers) -> dict[str, str]:
        """What a page may send; clients ask so of every path, some of them for nothing."""
        allowed = {"Allow": "GET, POST, DELETE, OPTIONS"}
        if self._is_listed(headers.get("origin", "")):
            allowed |= {
                "Access-Control-Allow-Methods": "GET, POST, DELETE",
                "Access-Control-Allow-Headers": headers.get("access-control-request-headers", "*"),
                "Access-Control-Max-Age": "600",
            }
            if headers.get("access-control-request-private-network") == "true":
                allowed["Access-Control-Allow-Private-Network"] = "true"
        return allowed

    def _limited(self, receive: Receive) -> Receive:
        """The body, which fails when it becomes too large or stops coming, whatever was said."""
        total, is_whole = 0, False

        async def limited() -> Message:
            nonlocal total, is_whole
            if is_whole:  # the next message is that the client went away
                return await receive()
            try:
                async with asyncio.timeout(PATIENCE):
                    message = await receive()
            except TimeoutError as error:
                raise ApiError("too_slow", "The rest of the request did not come.") from error
            is_whole = not message.get("more_body", False)
            total += len(message.get("body", b""))
            if total > self._most:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> ApiError:
        return ApiError("too_large", f"A request must have at most {self._most} bytes.")


async def respond(
    send: Send, status: int, body: bytes = b"", headers: dict[str, str] | None = None
) -> None:
    """Send a whole answer."""
    given = {"Content-Type": "application/json"} if body else {}
    given |= {"Content-Length": str(len(body))} if status != 204 else {}
    raw = [(k.lower().encode(), v.encode("latin-1")) for k, v in (given | (headers or {})).items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _shown(path: str) -> str:
    """A path for the log, which a client may have made of anything."""
    return path.encode("ascii", "backslashreplace").decode()[:200].replace("\n", "\\n")
