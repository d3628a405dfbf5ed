"""A real Chromium, and a server with a painter that needs no network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browsing import EVIL, Visit, ready
from fake_painters import FakePainter, Live, Studio
from playwright.sync_api import Browser, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of a file of tests: its driver has an event loop, which others must not meet."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("the page needs a browser: apt-get install chromium")
    expect.set_options(timeout=15_000)  # a busy machine is no failure
    with sync_playwright() as playwright:
        # Without a sandbox, as in containers: it sees pages of ours alone.
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def folders() -> dict[str, Any]:
    """The settings of the server of a file of tests, besides its models."""
    return {}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Any]) -> Iterator[Live]:
    """One server for a file of tests; its pictures stay."""
    models = {"fake": "mini", EVIL: "mini-turbo"}
    studio = Studio(tmp_path_factory.mktemp("page"), models=models, **folders)
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
