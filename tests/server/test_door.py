"""Who may use the server, from where, and with how much."""

from __future__ import annotations

import base64
import io
import json
import logging
import zlib
from collections.abc import Callable

import httpx
import numpy as np
import pytest
from fake_painters import Live
from PIL import Image

ASK = {"prompt": "a very private wish", "steps": 1, "seed": 1}
TOKEN = "s3cret-token"


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def routes(live: Live) -> list[tuple[str, str]]:
    paths = live.client.get("/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    found = [(method, path) for path, item in paths["paths"].items() for method in item]
    assert len(found) > 10
    return [(method, path.replace("{name}", "x")) for method, path in found]


def test_with_a_token_everything_but_health_and_the_page_is_closed(open_live: Callable[..., Live]):
    live = open_live(token=TOKEN)
    for method, path in [*routes(live), ("get", "/openapi.json"), ("get", "/"), ("post", "/nope")]:
        answer = live.client.request(method, path)
        is_open = path in ("/healthz", "/readyz", "/")
        assert (answer.status_code == 401) != is_open, path
        if not is_open:
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "private" not in answer.text


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer {TOKEN}", True),
        (basic(f"user:{TOKEN}"), True),
        (basic(f":{TOKEN}"), True),
        (basic(TOKEN), True),
        (f"Bearer {TOKEN}x", False),
        (f"Bearer {TOKEN[:-1]}", False),
        ("Bearer", False),
        ("", False),
        (TOKEN, False),
        (basic(f"{TOKEN}:user"), False),
        ("Basic ###", False),
        (f"Digest {TOKEN}", False),
    ],
)
def test_the_token_is_taken_as_clients_give_it(
    open_live: Callable[..., Live], given: str, allowed: bool
):
    live = open_live(token=TOKEN)
    answer = live.client.get("/v1/jobs", headers={"Authorization": given})
    assert answer.status_code == (200 if allowed else 401)


def test_without_a_token_any_authorization_will_do(live: Live):
    for given in ("", "Basic Og==", "Bearer x", "nonsense"):
        assert live.client.get("/v1/jobs", headers={"Authorization": given}).status_code == 200


def test_tokens_are_compared_in_constant_time(
    open_live: Callable[..., Live], monkeypatch: pytest.MonkeyPatch
):
    compared: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr("hmac.compare_digest", compare)
    live = open_live(token=TOKEN)
    for given in ("x", TOKEN[:-1], TOKEN, TOKEN * 9):
        live.client.get("/v1/jobs", headers={"Authorization": f"Bearer {given}"})
    assert {len(each) for pair in compared for each in pair} == {32}
    assert len(compared) == 4


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost:7860", True),
        ("127.0.0.1", True),
        ("[::1]:80", True),
        ("192.168.1.7:7860", True),  # a page cannot have an address for a name
        ("my-machine:7860", True),
        ("evil.example", False),
        ("evil.example:7860", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("127.0.0.1@evil.example", False),
        ("", False),
    ],
)
def test_a_name_that_is_not_ours_is_refused(
    open_live: Callable[..., Live], host: str, allowed: bool
):
    live = open_live(allowed_hosts="my-machine")
    answer = live.client.get("/v1/jobs", headers={"Host": host})
    assert answer.status_code == (200 if allowed else 403)


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://localhost:7860"}, True),
        ({"Origin": "https://localhost:7860"}, True),  # behind a proxy that has the certificate
        ({"Origin": "http://listed.example"}, True),
        ({"Origin": "http://localhost:7861"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://localhost:7860.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "file://"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, True),
    ],
)
def test_pages_of_elsewhere_are_refused(
    open_live: Callable[..., Live], headers: dict[str, str], allowed: bool
):
    live = open_live(cors=["http://listed.example"])
    given = {"Host": "localhost:7860"} | headers
    assert live.client.get("/v1/jobs", headers=given).is_success == allowed
    assert live.client.post("/v1/jobs", json=ASK, headers=given).is_success == allowed
    assert len(live.studio.history.page(9)[0]) == allowed


def test_cors_is_for_the_origins_that_are_listed(open_live: Callable[..., Live]):
    live = open_live(cors="http://listed.example", token=TOKEN)
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    for path in ("/v1/jobs", "/v1/images/generations", "/sdapi/v1/txt2img"):
        for origin in ("http://listed.example", "http://evil.example", None):
            headers = asked | ({"Origin": origin} if origin else {})
            answer = live.client.options(path, headers=headers)
            assert answer.status_code == 204
            allowed = answer.headers.get("access-control-allow-origin")
            assert allowed == (origin if origin == "http://listed.example" else None)
            named = answer.headers.get("access-control-allow-headers")
            assert named == ("authorization,content-type" if allowed else None)
    answer = live.client.get("/readyz", headers={"Origin": "http://listed.example"})
    assert answer.headers["access-control-allow-origin"] == "http://listed.example"
    assert answer.headers["vary"] == "Origin"


def test_every_answer_has_the_headers_that_protect_a_browser(live: Live):
    job = live.client.post("/v1/jobs", json=ASK).json()
    for path in ("/v1/jobs", job["url"], "/v1/pictures/x", "/nothing", "/healthz"):
        headers = live.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
        assert len(headers["x-request-id"]) == 16


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "text/html", "application/pickle"]
)
def test_bodies_that_a_form_can_send_are_refused(live: Live, kind: str):
    answer = live.client.post("/v1/jobs", content=json.dumps(ASK), headers={"content-type": kind})
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"


def test_a_compressed_body_is_refused(live: Live):
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    body = zlib.compress(json.dumps(ASK).encode())
    assert live.client.post("/v1/jobs", content=body, headers=headers).status_code == 415


def test_large_bodies_are_refused_however_they_are_sent(open_live: Callable[..., Live]):
    live = open_live(max_body=1)
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    said = live.raw(head + b"Content-Length: 100000000\r\nConnection: close\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413")  # before anything of it came

    def chunks():
        for _ in range(40):
            yield b" " * 2**16

    try:
        answer = live.client.post(
            "/v1/jobs", content=chunks(), headers={"content-type": "application/json"}
        )
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "too_large"
    except httpx.WriteError:  # the connection was closed while the rest was sent
        pass
    files = {"file": ("x.png", b"x" * 2**21, "image/png")}
    assert live.client.post("/v1/uploads", files=files).status_code == 413


def test_a_body_that_stops_coming_is_given_up(live: Live, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sfumato.server.door.PATIENCE", 0.1)
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    answer = live.raw(head + b'Content-Length: 100\r\nConnection: close\r\n\r\n{"prompt":')
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"too_slow" in answer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"5",
        b"null",
        b'"x"',
        b"{",
        b'{"prompt": NaN}',
        b'{"prompt": "x", "steps": Infinity}',
        b'{"prompt": "x", "guidance": 1e309}',
        b'{"prompt": "x", "seed": ' + b"9" * 5000 + b"}",
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"prompt": "x", "wildcards": {"a": [1]}}',
        b'{"prompt": "x", "sampler_options": {"eta": {"a": 1}}}',
        b'{"prompt": "x", "extend": {"left": -1}}',
    ],
)
def test_hostile_json_is_a_bad_request(live: Live, body: bytes):
    answer = live.client.post(
        "/v1/jobs", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("invalid_json", "invalid_request")
    assert "Traceback" not in answer.text
    assert "/src/" not in answer.text


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"GIF89a" + bytes(100), 400),
        (b"<svg onload=alert(1)>", 400),
        (encoded(Image.new("RGB", (8, 8)), "GIF"), 400),
        (encoded(Image.new("RGB", (8, 8)))[:45], 400),
        (encoded(Image.new("L", (30_000, 30_000))), 400),  # 900 million pixels in a megabyte
        (encoded(Image.new("1", (65_535, 1))), 201),
        (encoded(Image.new("RGB", (1, 1))), 201),
        (encoded(Image.new("CMYK", (9, 7)), "JPEG"), 201),
        (encoded(Image.new("P", (9, 7))), 201),
        (encoded(Image.new("I;16", (9, 7))), 201),
        (encoded(Image.fromarray(np.zeros((5, 5, 4), "uint8"))), 201),
    ],
)
def test_pictures_of_any_kind_are_decoded_or_refused(live: Live, content: bytes, status: int):
    answer = live.client.post("/v1/uploads", content=content, headers={"content-type": "image/png"})
    assert answer.status_code == status, answer.text
    if status == 201:  # it is our own file that is served, not the client's
        sent = live.client.get(answer.json()["url"]).content
        assert Image.open(io.BytesIO(sent)).format == "PNG"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/pictures/..%2f..%2fetc%2fpasswd",
        "/v1/pictures/....//....//etc/passwd",
        "/v1/pictures/%2e%2e/%2e%2e/etc/passwd",
        "/v1/pictures/..%5c..%5cwindows",
        "/v1/pictures/%00",
        "/v1/pictures/CON",
        "/v1/uploads/../jobs.sqlite",
        "/v1/jobs/%27%20OR%201=1--",
        "//etc/passwd",
    ],
)
def test_paths_lead_nowhere_else(live: Live, path: str):
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = live.raw(head.encode())
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"root:" not in answer


def test_forged_forms_are_bad_requests(live: Live):
    for body in (
        b"",
        b"--x",
        b"--x\r\n\r\n",
        b"--x\r\nContent-Disposition: form-data\r\n\r\nx--x--",
    ):
        headers = {"content-type": "multipart/form-data; boundary=x"}
        assert live.client.post("/v1/uploads", content=body, headers=headers).status_code == 400
    headers = {"content-type": "multipart/form-data"}  # no boundary
    assert live.client.post("/v1/uploads", content=b"x", headers=headers).status_code == 400
    files = [("file", (f"{i}.png", b"x", "image/png")) for i in range(50)]
    assert live.client.post("/v1/uploads", files=files).status_code == 400


def test_the_log_has_no_words_unless_it_is_asked_for(
    open_live: Callable[..., Live], caplog: pytest.LogCaptureFixture
):
    def trouble(requests):
        raise ValueError("something")

    caplog.set_level(logging.DEBUG)
    for log_prompts in (False, True):
        live = open_live(log_prompts=log_prompts)
        live.studio.painter.trouble = trouble
        job = live.client.post("/v1/jobs", json=ASK).json()
        live.client.get(job["url"])
        live.client.post("/v1/jobs", json=ASK | {"steps": -1})
        live.client.get("/v1/jobs", params={"q": "a very private wish"})
        ours = [r.getMessage() for r in caplog.records if r.name.startswith("sfumato")]
        assert ("private" in str(ours)) == log_prompts
        assert "POST /v1/jobs 202" in str(ours)


def test_an_error_of_ours_tells_nothing(live: Live, monkeypatch: pytest.MonkeyPatch):
    def broken(count: int, before: int | None) -> None:
        raise ZeroDivisionError("/secret/path")

    monkeypatch.setattr(live.studio.history, "page", broken)
    answer = live.client.get("/v1/jobs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert live.client.get("/healthz").status_code == 200


def test_health_readiness_and_figures(open_live: Callable[..., Live]):
    live = open_live()
    assert live.client.get("/healthz").json() == {"status": "ok"}
    assert live.client.get("/readyz").json() == {"status": "ready"}
    job = live.client.post("/v1/jobs", json=ASK | {"count": 2}).json()
    assert live.studio.service.job(job["id"]).wait(10)  # type: ignore[union-attr]
    text = live.client.get("/metrics").text
    for line in (
        "sfumato_pictures_total 2.0",
        "sfumato_queue_depth 0.0",
        'sfumato_jobs_total{code="",state="done"} 1.0',
        "sfumato_step_seconds_count 1.0",
        'sfumato_batch_pictures_bucket{le="2.0"} 1.0',
        'sfumato_http_requests_total{method="POST",status="202"} 1.0',
    ):
        assert line in text
    assert "sfumato_memory_bytes" in text
    live.client.request("WHATEVER", "/v1/jobs")
    assert 'method="other",status="405"' in live.client.get("/metrics").text
    live.studio.service.drain(0)
    assert live.client.get("/readyz").status_code == 503
    answer = live.client.post("/v1/jobs", json=ASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "draining")
    assert "retry-after" in answer.headers
    assert open_live(metrics=False).client.get("/metrics").status_code == 404
