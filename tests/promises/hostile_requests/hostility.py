"""Requests that no honest client sends, by name: how each is sent, and the status of its answer."""

from __future__ import annotations

import io
import json
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from PIL import Image

JSON = {"content-type": "application/json"}
PNG = {"content-type": "image/png"}
FORM = {"content-type": "multipart/form-data; boundary=x"}
HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CLOSED = 0
"""In place of a status: the connection was closed without an answer."""

Send = Callable[[httpx.Client], int]


def ask(method: str, path: str, **given: Any) -> Send:
    """Send a request of HTTP; nothing of the server may be in the answer."""

    def send(client: httpx.Client) -> int:
        answer = client.request(method, path, **given)
        for secret in ("Traceback", "/src/", "site-packages", "root:"):
            assert secret not in answer.text
        return answer.status_code

    return send


def post(body: bytes, path: str = "/v1/jobs", kind: dict[str, str] = JSON) -> Send:
    return ask("POST", path, content=body, headers=kind)


def raw(*parts: bytes) -> Send:
    """Send bytes, whatever they are."""

    def send(client: httpx.Client) -> int:
        address = (client.base_url.host, client.base_url.port or 0)
        answer = b""
        with socket.create_connection(address, timeout=20) as connection:
            try:
                for part in parts:
                    connection.sendall(part)
                while part := connection.recv(65536):
                    answer += part
            except (BrokenPipeError, ConnectionResetError):
                pass  # closed before everything was sent, with an answer or without
        assert b"Traceback" not in answer
        return int(answer.split(b" ")[1]) if answer else CLOSED

    return send


def endless(client: httpx.Client) -> int:
    """Send chunks until the server has enough."""

    def chunks() -> Iterator[bytes]:
        for _ in range(2**12):  # 256 MiB
            yield b" " * 2**16

    try:
        return client.post("/v1/jobs", content=chunks(), headers=JSON).status_code
    except httpx.WriteError:  # closed while the rest was sent
        return CLOSED


def chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, *chunks: bytes, content: bytes = b"") -> bytes:
    """A file that says it is so large, whatever is in it."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = zlib.compress(content or bytes(2**20))
    return (
        b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.png", bytes(2**24))
    return file.getvalue()


WISH = json.dumps({"prompt": "x", "steps": 1}).encode()
ZEROS = zlib.compress(bytes(100 * 2**20), 9)  # 100 MB in 100 kB

BODIES: dict[str, tuple[Send, int]] = {
    "chunks without end": (endless, 413),
    "100 MB of JSON are announced": (raw(HEAD + b"Content-Length: 104857600\r\n\r\n"), 413),
    "a body that stops": (raw(HEAD + b'Content-Length: 100\r\n\r\n{"prompt":'), 408),
    "a head that stops": (raw(HEAD), CLOSED),
    "a connection that says nothing": (raw(), CLOSED),
    "a huge header": (raw(HEAD + b"X: " + b"a" * 2**20 + b"\r\n\r\n"), 400),
    "many headers": (raw(HEAD + b"X: a\r\n" * 10_000 + b"\r\n"), 400),
    "a long path": (raw(b"GET /" + b"a" * 2**20 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400),
    "two lengths": (raw(HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}    "), 400),
    "a negative length": (raw(HEAD + b"Content-Length: -1\r\n\r\n"), 400),
    "no HTTP": (raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)), 400),
    "a compressed body": (post(zlib.compress(WISH), kind=JSON | {"content-encoding": "gzip"}), 415),
    "a zip": (post(zipped(), "/v1/uploads", {"content-type": "application/zip"}), 415),
    **{
        f"a form's {kind}": (post(WISH, kind={"content-type": kind}), 415)
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/pickle")
    },
}

CALL = JSON | {"accept": "application/json, text/event-stream"}
MCP: dict[str, tuple[Send, int]] = {
    f"{name} for MCP": (post(body, "/mcp", CALL), 400)
    for name, body in {
        "no JSON": b"{",
        "a million values": b'{"jsonrpc": "2.0", "id": 1, "method": [' + b"0," * 400_000 + b"0]}",
        "lists in lists": b"[" * 90_000,
        "no call": b'{"jsonrpc": "2.0", "id": "\\ud800", "method": 5}',
    }.items()
}

TEXTS: dict[str, tuple[Send, int]] = {
    name: (post(body), 400)
    for name, body in {
        "nothing": b"",
        "a list": b"[]",
        "null": b"null",
        "an open brace": b"{",
        "NaN": b'{"prompt": NaN}',
        "Infinity": b'{"prompt": "x", "steps": Infinity}',
        "1e309": b'{"prompt": "x", "guidance": 1e309}',
        "5000 digits": b'{"prompt": "x", "seed": ' + b"9" * 5000 + b"}",
        "objects in objects": b'{"a":' * 100_000,
        "lists in lists": b"[" * 100_000,
        "a million values": b'{"prompt": "x", "wildcards": {"a": [' + b"0," * 400_000 + b"0]}}",
        "no UTF-8": b"\xff\xfe",
        "no words": b'{"prompt": "x", "wildcards": {"a": [1]}}',
        "an option that is none": b'{"prompt": "x", "sampler_options": {"eta": {"a": 1}}}',
        "less than nothing": b'{"prompt": "x", "extend": {"left": -1}}',
        "words that name each other": json.dumps(
            {"prompt": "__a__", "wildcards": {"a": ["__b____b__"], "b": ["__a____a__"]}}
        ).encode(),
        "a NUL in a name": b'{"prompt": "x", "model": "mini\\u0000"}',
        "a lone surrogate in a name": b'{"prompt": "x", "sampler": "\\ud800"}',
        "a file": b'{"prompt": "x", "image": "/etc/passwd"}',
        "an address": b'{"prompt": "x", "image": "http://169.254.169.254/latest/meta-data"}',
        "an upload elsewhere": b'{"prompt": "x", "image": "upload:../../etc/passwd"}',
        "a picture elsewhere": b'{"prompt": "x", "image": "picture:..\\\\..\\\\windows"}',
        "a folder of LoRAs": b'{"prompt": "x", "lora_folder": "/etc"}',
    }.items()
}

PICTURES: dict[str, tuple[Send, int]] = {
    name: (post(content, "/v1/uploads", PNG), status)
    for name, (content, status) in {
        "no picture": (b"", 400),
        "a GIF": (encoded(Image.new("RGB", (8, 8)), "GIF"), 400),
        "text": (b"<svg onload=alert(1)>", 400),
        "half a file": (encoded(Image.new("RGB", (8, 8)))[:45], 400),
        "900 million pixels in a kilobyte": (png(30_000, 30_000), 400),
        "a side of 2^31": (png(2**31 - 1, 1), 400),
        "no side": (png(0, 5), 400),
        "100 MB of text": (png(8, 8, chunk(b"zTXt", b"a\0\0" + ZEROS), content=bytes(72)), 400),
        "100 MB of colours": (png(8, 8, chunk(b"iCCP", b"a\0\0" + ZEROS), content=bytes(72)), 400),
        "more rows than it says": (png(8, 8, content=bytes(2**24)), 201),
        "65535x1": (encoded(Image.new("1", (65_535, 1))), 201),
        "1x65535": (encoded(Image.new("1", (1, 65_535))), 201),
        "1x1": (encoded(Image.new("RGB", (1, 1))), 201),
        "four inks": (encoded(Image.new("CMYK", (9, 7)), "JPEG"), 201),
        "16 bits": (encoded(Image.new("I;16", (9, 7))), 201),
        "a palette": (encoded(Image.new("P", (9, 7))), 201),
    }.items()
}


def part(head: bytes, content: bytes = b"x") -> bytes:
    return b"--x\r\n" + head + b"\r\n\r\n" + content + b"\r\n--x--\r\n"


FORMS: dict[str, tuple[Send, int]] = {
    name: (post(body, "/v1/uploads", kind), status)
    for name, (body, kind, status) in {
        "an empty form": (b"", FORM, 400),
        "a form that begins": (b"--x", FORM, 400),
        "a part without a head": (b"--x\r\n\r\n", FORM, 400),
        "a form without boundaries": (b"x", {"content-type": "multipart/form-data"}, 400),
        "a boundary of 10 kB": (b"x", {"content-type": FORM["content-type"] + "x" * 10_000}, 400),
        "a part that never ends": (part(b'Content-Disposition: form-data; name="')[:-9], FORM, 400),
        "a head of a part": (part(b"X: " + b"a" * 2**19), FORM, 400),
        "many fields": (part(b'Content-Disposition: form-data; name="a"') * 200, FORM, 400),
        "a name that is a path": (
            part(
                b'Content-Disposition: form-data; name="file"; filename="../../x.png"',
                encoded(Image.new("RGB", (1, 1))),
            ),
            FORM,
            201,
        ),
    }.items()
}

PLACES: dict[str, tuple[Send, int]] = {
    f"{method} {path}": (
        raw(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()),
        404,
    )
    for method, path in (
        *(
            ("GET", f"{folder}/{name}")
            for folder in ("/v1/pictures", "/v1/uploads", "/v1/jobs", "/page", "/sdapi/v1")
            for name in (
                *("..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "..%5c..%5cwindows"),
                *("../jobs.sqlite", "%00", "CON", "%27%20OR%201=1--"),
            )
        ),
        ("GET", "/v1/pictures/..%2fjobs/recipe"),
        ("GET", "/v1/jobs/..%2f..%2fx/events"),
        ("GET", "/v1/models/..%2f..%2fetc%2fpasswd"),
        ("DELETE", "/v1/jobs/..%2f..%2fx?forget=true"),
        ("GET", "//etc/passwd"),
    )
}

STRANGERS: dict[str, tuple[Send, int]] = {
    **{
        f"Host: {host}": (ask("GET", "/v1/jobs", headers={"host": host}), status)
        for host, status in {
            "localhost:7860": 200,
            "127.0.0.1": 200,
            "[::1]:80": 200,
            "192.168.1.7:7860": 200,  # a page cannot have an address for a name
            "my-machine:7860": 200,
            "evil.example": 403,
            "evil.example:7860": 403,
            "localhost.evil.example": 403,
            "127.0.0.1.evil.example": 403,
            "127.0.0.1@evil.example": 403,
            "[evil": 403,
            "": 403,
        }.items()
    },
    **{
        f"{method} {headers}": (
            ask(
                method,
                "/v1/jobs",
                headers={"host": "localhost:7860"} | headers,
                **({} if method == "GET" else {"json": {"prompt": "x", "steps": 1}}),
            ),
            status if method == "GET" or status != 200 else 202,
        )
        for headers, status in (
            ({}, 200),
            ({"origin": "http://localhost:7860"}, 200),
            ({"origin": "https://localhost:7860"}, 200),  # behind a proxy with the certificate
            ({"origin": "http://listed.example"}, 200),
            ({"origin": "http://localhost:7861"}, 403),
            ({"origin": "http://evil.example"}, 403),
            ({"origin": "http://localhost:7860.evil.example"}, 403),
            ({"origin": "null"}, 403),
            ({"origin": ""}, 403),
            ({"origin": "file://"}, 403),
            ({"origin": "http://[evil"}, 403),
            ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
            ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, 200),
            ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),
        )
        for method in ("GET", "POST")
    },
}

REQUESTS = BODIES | MCP | TEXTS | PICTURES | FORMS | PLACES | STRANGERS
