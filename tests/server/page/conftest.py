"""A real Chromium, and a server with a painter that needs no network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_painters import FakePainter, Live, Studio
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

EVIL = '<img src=x onerror="window.hacked=1">'
"""Text that is HTML, as a stranger would name a file."""

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("the page needs a browser: apt-get install chromium")
    expect.set_options(timeout=15_000)  # a busy machine is no failure
    with sync_playwright() as playwright:
        # Without a sandbox, as in containers: it sees pages of ours alone.
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One server for all tests; its pictures stay."""
    studio = Studio(tmp_path_factory.mktemp("page"), models={"fake": "mini", EVIL: "mini-turbo"})
    made = Live(studio)
    yield made
    made.stop()
    studio.service.stop()


@pytest.fixture
def painter(server: Live) -> Iterator[FakePainter]:
    """What paints with the default model; idle and quick again afterwards."""
    painter = server.studio.painter
    yield painter
    painter.pace = 0
    painter.gate.set()
    for job in server.studio.service.live():
        server.studio.service.cancel(job)


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


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens windows, each as on a new device."""
    visits: list[Visit] = []

    def make(**options: Any) -> Visit:
        visits.append(Visit(browser.new_context(**options)))
        return visits[-1]

    yield make
    for each in visits:
        each.context.close()
    assert [text for each in visits for text in each.complaints] == []


@pytest.fixture
def page(visit: Callable[..., Visit], server: Live, painter: FakePainter) -> Page:
    """The page, ready to be used."""
    return ready(visit().open(server.address))


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
