"""The page of the server's paths is made from the declarations."""

from __future__ import annotations

import re

from docs import make_api


def test_the_page_is_current() -> None:
    assert make_api.PAGE.read_text("utf-8") == make_api.make_page(), "run docs/make_api.py"


def test_it_has_each_api_and_tool() -> None:
    page = make_api.make_page()
    for path in ("/v1/jobs", "/v1/images/edits", "/sdapi/v1/txt2img", "/healthz"):
        assert re.search(rf"^\| `(GET|POST) {path}` \| \w", page, re.MULTILINE)
    assert "**`prompt`**, `negative_prompt`" in page
    assert "| `queue_full` | 429 |" in page
