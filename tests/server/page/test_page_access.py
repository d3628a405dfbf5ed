"""The page for everybody: axe-core, keyboard, phones; tokens, sub-paths, text that is HTML."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from browsing import (
    EVIL,
    PHONE,
    Visit,
    check_access,
    drop,
    paint,
    painted,
    png,
    ready,
    with_capabilities,
)
from fake_painters import FakePainter, Live, Studio
from playwright.sync_api import Page, expect

from sfumato.request import Request
from sfumato.server.run import configuration


@pytest.mark.parametrize(
    "options",
    [{}, {"color_scheme": "dark"}, PHONE],
    ids=["light", "dark", "phone"],
)
def test_axe_finds_nothing(
    visit: Callable[..., Visit], server: Live, painter: FakePainter, options: dict[str, Any]
):
    page = ready(visit(**options).open(server.address))
    painted(page, "an accessible picture")
    page.locator(".recipe summary").click()
    expect(page.locator("pre")).to_have_count(3)
    page.locator("#more").click()
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    page.get_by_label("Steps", exact=True).fill("100000")
    paint(page, "with an error")
    expect(page.locator("[aria-invalid]")).to_be_visible()
    check_access(page)

    page.get_by_role("button", name="Begin from it").click()
    expect(page.locator("#start")).to_be_visible()
    page.get_by_role("button", name="Reset the options").click()
    painter.gate.clear()
    paint(page, "on its way")
    paint(page, "waiting")
    expect(page.locator("#queue li")).to_have_count(1)
    check_access(page)
    painter.gate.set()
    page.get_by_role("button", name="Paint over a part").first.click()
    expect(page.locator("dialog canvas")).to_be_visible()
    check_access(page)


def test_all_can_be_done_with_the_keyboard(page: Page):
    expect(page.get_by_label("What to paint")).to_be_focused()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    for label in ("Shape", "How many"):
        page.keyboard.press("Tab")
        expect(page.get_by_label(label)).to_be_focused()
    page.keyboard.press("ArrowDown")  # two pictures
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator("#options")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # Paint
    expect(page.locator("#stage .frame:enabled")).to_have_count(2)
    page.locator("#tiles button[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tiles li:nth-child(2) button")).to_be_focused()
    expect(page.locator("#stage > .prompt")).to_have_text("one\ntwo")
    expect(page.locator("#tiles [tabindex='0']")).to_have_count(1)


def test_text_is_never_html(page: Page, server: Live):
    def add(facts: dict[str, Any]) -> None:
        schema = {"type": "array", "items": {}, "description": EVIL, "x-group": EVIL}
        facts["request"]["properties"]["loras"] = schema
        facts["loras"] = [EVIL]
        facts["samplers"].append({"name": EVIL, "label": EVIL})

    with_capabilities(page, add)
    page.reload()
    ready(page)
    page.get_by_label("Model").select_option(EVIL)
    painted(page, EVIL)
    page.locator(".recipe summary").click()
    expect(page.locator("pre").first).to_contain_text("onerror")
    page.locator("#more").click()
    expect(page.locator("#options summary").first).to_be_visible()
    request = Request(prompt=EVIL, negative_prompt=EVIL, steps=2, seed=1)
    drop(page, png(request))
    page.get_by_role("button", name="Recall the recipe").click()
    page.get_by_label("What to paint").fill(EVIL)
    page.goto(f"{server.address}/#{EVIL}")
    expect(page.locator("#stage")).not_to_be_empty()
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src='x'], script:not([src]), [onerror]").count() == 0


def test_the_browser_itself_refuses_html(visit: Callable[..., Visit], server: Live):
    window = visit()
    window.allowed = ("This document requires 'TrustedHTML'",)
    page = ready(window.open(server.address))
    refused = page.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>'; return false } catch { return true } }"
    )
    assert refused
    assert page.locator("body > b").count() == 0


def test_the_token_is_asked_for(
    visit: Callable[..., Visit], tmp_path: Path, open_live: Callable[..., Live]
):
    live = open_live(token="secret")
    window = visit()
    page = window.open(live.address)
    for token in ("wrong", "secret"):
        page.get_by_role("textbox", name="Token").fill(token)
        page.keyboard.press("Enter")
    ready(page)
    painted(page, "behind a token")
    page.wait_for_function("() => document.querySelector('#stage img').naturalWidth > 0")
    assert page.locator("#stage img").get_attribute("src", timeout=1000).startswith("blob:")
    page.reload()
    ready(page)  # the tab keeps it
    assert page.evaluate("localStorage.length") == 0


class SubPath:
    """A server behind a proxy that serves it under a path."""

    def __init__(self, studio: Studio, path: str) -> None:
        config = configuration(studio.service)
        app = config.app

        async def proxied(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                assert scope["path"].startswith(path), scope["path"]
                bare = scope["path"].removeprefix(path)
                scope = scope | {"path": bare, "raw_path": bare.encode()}
            await app(scope, receive, send)

        self.server = uvicorn.Server(uvicorn.Config(proxied, port=0, log_config=None))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.005)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{port}{path}/"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(5)


def test_it_works_under_a_sub_path(visit: Callable[..., Visit], open_studio: Callable[..., Studio]):
    proxy = SubPath(open_studio(root_path="/deep/er"), "/deep/er")
    window = visit()
    try:
        page = ready(window.open(proxy.address))
        painted(page, "deep down")
        page.wait_for_function("() => document.querySelector('#stage img').naturalWidth > 0")
        page.reload()
        expect(page.locator("#tiles img")).to_have_count(1)
    finally:
        window.context.close()
        proxy.stop()
