"""Fixtures: services and servers with fake painters, stopped when their test ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_painters import Live, Studio


@pytest.fixture
def open_studio(tmp_path: Path) -> Iterator[Callable[..., Studio]]:
    """Makes a service that is not started yet."""
    studios: list[Studio] = []

    def make(**given: Any) -> Studio:
        studios.append(Studio(tmp_path / f"server{len(studios)}", **given))
        return studios[-1]

    yield make
    for studio in studios:
        for painter in studio.painters.values():
            painter.gate.set()
        studio.service.stop()


@pytest.fixture
def studio(open_studio: Callable[..., Studio]) -> Studio:
    """A service that runs."""
    made = open_studio()
    made.service.start()
    return made


@pytest.fixture
def open_live(open_studio: Callable[..., Studio]) -> Iterator[Callable[..., Live]]:
    """Makes a server that listens."""
    servers: list[Live] = []

    def make(**given: Any) -> Live:
        servers.append(Live(open_studio(**given)))
        return servers[-1]

    yield make
    for server in servers:
        for painter in server.studio.painters.values():
            painter.gate.set()
        server.stop()


@pytest.fixture
def live(open_live: Callable[..., Live]) -> Live:
    return open_live()


def routes_of(live: Live) -> list[tuple[str, str]]:
    """Method and path of all that a server answers, also of applications that are mounted."""
    found, waiting = [], [*live.app.routes]
    while waiting:
        route: Any = waiting.pop()
        if router := getattr(route, "original_router", None):  # as newer FastAPIs keep it
            waiting += router.routes
            continue
        methods = getattr(route, "methods", None) or ("GET", "POST", "DELETE")
        found += [(method, re.sub(r"\{[^}]*\}", "x", route.path)) for method in sorted(methods)]
    assert len(found) > 30
    return found
