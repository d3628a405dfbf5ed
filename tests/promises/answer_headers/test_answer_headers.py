"""Every answer forbids browsers what could be turned against their users."""

from __future__ import annotations

from collections.abc import Callable

from fake_painters import Live
from studios import routes_of

ASK = {"prompt": "a very private wish", "steps": 1, "seed": 1}
TOKEN = "s3cret-token"


def test_every_answer_of_every_route(live: Live):
    job = live.client.post("/v1/jobs", json=ASK).json()
    paths = [("GET", job["url"]), ("GET", job["events"]), ("GET", "/nothing"), ("BREW", "/")]
    for method, path in [*routes_of(live), *paths]:
        answer = live.client.request(method, path)
        headers = answer.headers
        assert headers["x-content-type-options"] == "nosniff", (method, path)
        assert "default-src 'none'" in headers["content-security-policy"], (method, path)
        assert "frame-ancestors 'none'" in headers["content-security-policy"], (method, path)
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["referrer-policy"] == "no-referrer"
        assert not [name for name in headers if name.startswith("access-control-")]
        assert "server" not in headers
        assert len(headers["x-request-id"]) == 16
        assert answer.status_code != 500, (method, path)


def test_answers_that_never_reach_an_api(open_live: Callable[..., Live]):
    live = open_live(token=TOKEN)
    for status, given in {
        401: {},
        403: {"Origin": "http://evil.example"},
        415: {"Authorization": f"Bearer {TOKEN}", "Content-Type": "text/plain"},
    }.items():
        answer = live.client.post("/v1/jobs", headers=given)
        assert answer.status_code == status
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


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
