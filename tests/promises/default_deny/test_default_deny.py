"""Where a token is needed, nothing is open that is not open on purpose."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from fake_painters import Live
from studios import routes_of

TOKEN = "s3cret-token"
OPEN = ("/healthz", "/readyz", "/", "/page/x")


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def test_every_route_is_closed_but_those_of_health_and_of_the_page(open_live: Callable[..., Live]):
    live = open_live(token=TOKEN)
    routes = routes_of(live)
    assert {path for _, path in routes} >= {*OPEN, "/metrics", "/openapi.json", "/v1/jobs"}
    for method, path in [*routes, ("GET", "/nothing"), ("POST", "/nothing"), ("PUT", "/page")]:
        answer = live.client.request(method, path)
        assert (answer.status_code == 401) != (path in OPEN), (method, path)
        if path not in OPEN:
            assert answer.headers["www-authenticate"] == "Bearer"
            shown = {"Authorization": f"Bearer {TOKEN}"}
            assert live.client.request(method, path, headers=shown).status_code != 401
    assert live.studio.history.page(9) == ([], None)


def test_what_a_browser_asks_first_tells_nothing(open_live: Callable[..., Live]):
    answer = open_live(token=TOKEN).client.options("/v1/jobs")
    assert (answer.status_code, answer.content) == (204, b"")


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
