"""What tests of the page do with it: open it, paint, drop pictures on it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from axe_playwright_python.sync_playwright import Axe
from fake_painters import Live
from PIL import Image
from playwright.sync_api import BrowserContext, Page, Route, expect

from sfumato.pictures import files
from sfumato.request import Request

EVIL = '<img src=x onerror="window.hacked=1">'
"""Text that is HTML, as a stranger would name a file."""

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

DROP = """([content, name, place]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const given = new DataTransfer();
  given.items.add(new File([bytes], name, { type: "image/png" }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const event = new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: given });
    document.querySelector(place).dispatchEvent(event);
  }
}"""


class Visit:
    """A browser's window; whatever it complains about in its console fails the test."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.complaints: list[str] = []
        self.allowed: tuple[str, ...] = ("Failed to load resource",)  # answers that are errors

    def open(self, address: str) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self._heard(said.type, said.text))
        page.goto(address)
        return page

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not text.startswith(self.allowed):
            self.complaints.append(text)


def ready(page: Page) -> Page:
    """The page once the server has said what it can do."""
    expect(page.locator("#model option").first).to_be_attached()
    return page


def paint(page: Page, words: str) -> None:
    page.get_by_label("What to paint").fill(words)
    page.get_by_role("button", name="Paint", exact=True).click()


def painted(page: Page, words: str) -> None:
    """Paint, and wait for the picture."""
    paint(page, words)
    expect(page.locator("#stage .prompt")).to_have_text(words)
    expect(page.get_by_role("button", name="Again with changes")).to_be_visible()


def with_capabilities(page: Page, change: Callable[[dict[str, Any]], Any]) -> None:
    """Let the page read other capabilities than the server's at its next load."""

    def answer(route: Route) -> None:
        facts = route.fetch().json()
        change(facts)
        route.fulfill(json=facts)

    page.route("**/v1/capabilities", answer)


def png(request: Request | None = None, grey: int = 90) -> bytes:
    pixels = np.full((16, 16, 3), grey, "uint8")
    return files.encode(pixels, recipe=None if request is None else request.recipe())


def drop(page: Page, content: bytes, place: str = "body") -> None:
    page.evaluate(DROP, [base64.b64encode(content).decode(), "picture.png", place])


def sent(page: Page) -> dict[str, Any]:
    """Paint; the request that went out."""
    with page.expect_request(lambda r: r.method == "POST" and r.url.endswith("/jobs")) as found:
        page.get_by_role("button", name="Paint", exact=True).click()
    return json.loads(found.value.post_data or "")


def pixels_of(server: Live, name: str) -> np.ndarray:
    """The picture of the server that a request names."""
    kind, _, rest = name.partition(":")
    answer = server.client.get(f"/v1/{kind}s/{rest}")
    return np.array(Image.open(io.BytesIO(answer.content)))


def check_access(page: Page) -> None:
    """No violation of any rule of axe-core, and nothing wider than the window."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    width = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert width <= 0
