"""The files of the page over HTTP: what is served, to whom, and what they say."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fake_painters import Live

from sfumato.server import web


def test_every_file_of_the_page_is_served_and_nothing_else(live: Live):
    answer = live.client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for name, path in web.FILES.items():
        answer = live.client.get(f"/page/{name}")
        assert (answer.status_code, answer.content) == (200, path.read_bytes()), name
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = live.client.get(f"/page/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    others = ("nothing.js", "jsconfig.json", "..%2fweb.py", "%2e%2e%2fweb.py", "app.js%00", "", ".")
    for name in others:
        assert live.client.get(f"/page/{name}").status_code in (404, 405), name
    assert live.client.head("/").status_code == 200
    assert live.client.post("/", json={}).status_code == 405


def test_the_page_allows_its_own_files_alone(live: Live):
    policy = live.client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    # The APIs keep the door's policy.
    assert "script-src" not in live.client.get("/v1/jobs").headers["content-security-policy"]


def test_nothing_is_inline_or_from_elsewhere():
    for name, path in web.FILES.items():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.[a-z]", text), name
        if name.endswith(".html"):
            assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*src=)", text)
        if name.endswith(".js"):
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
            for found in re.findall(r'from "\./([\w.]+)"', text):
                assert found in web.FILES


def test_only_the_page_is_open_where_a_token_is_needed(open_live: Callable[..., Live]):
    live = open_live(token="secret", root_path="/sub")
    for path in ("/", "/page/app.js", "/page/icon.svg", "/sub/", "/sub/page/app.js"):
        assert live.client.get(path).status_code == 200, path
    for path in ("/v1/jobs", "/pages", "/page", "/sub/v1/jobs", "/page/../v1/jobs", "/v1/recipes"):
        assert live.client.get(path).status_code == 401, path


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_link_from_elsewhere_opens_the_page(live: Live, site: str):
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
    assert live.client.get("/", headers=headers).status_code == 200
