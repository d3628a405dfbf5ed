"""Serving: at an address until a signal ends it, or on stdin and stdout until stdin ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn
from mcp.server.stdio import stdio_server

from sfumato.server import mcp
from sfumato.server.app import make_app
from sfumato.server.history import History
from sfumato.server.service import Service
from sfumato.server.settings import Settings

log = logging.getLogger(__name__)

CONNECTIONS = 1000
"""Connections at once; more are told to come again."""
PROCESSES = 20
"""Processes at once that speak on stdio with one folder's name."""
GRACE = 5
"""Seconds for answers that are on their way when everything else is done."""


class Server(uvicorn.Server):
    """Finishes its work at the first signal, and ends at once at the second.

    Args:
        config: of the HTTP server.
        service: drained at the first signal, while it still answers.
        announce: is called with the address when it listens.
    """

    def __init__(
        self, config: uvicorn.Config, service: Service, announce: Callable[[str], Any]
    ) -> None:
        super().__init__(config)
        self.service, self.announce = service, announce
        self._signals = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            os._exit(1)
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        log.info("finishing what is there; another signal ends at once")
        self.service.drain(self.service.settings.drain)
        self.should_exit = True

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self.announce(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


def configuration(service: Service) -> uvicorn.Config:
    """The settings of the HTTP server for a service."""
    settings = service.settings
    return uvicorn.Config(
        make_app(service),
        host=settings.host.strip("[]"),
        port=settings.port,
        log_config=None,
        access_log=False,  # the door has one, without queries
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
        backlog=CONNECTIONS,
        # One reader of HTTP, whatever else is installed: what is refused stays the same.
        http="h11",
        ws="none",
    )


def serve(
    settings: Settings, announce: Callable[[str], Any], service: Service | None = None
) -> int:
    """Serve until a signal comes.

    Args:
        settings: of the server.
        announce: is called with the address when it listens.
        service: in place of one of these settings.

    Returns:
        The exit code.
    """
    _set_log(settings)
    service = service or Service(settings)
    _open_models(service)
    server = Server(configuration(service), service, announce)
    server.run()
    return _ended(service, 0 if server.started else 1)


def speak(settings: Settings, service: Service | None = None) -> int:
    """Speak MCP on stdin and stdout, on which nothing else is said, until stdin ends.

    Args:
        settings: of the server; each process has a folder of its own.
        service: in place of one of these settings.

    Returns:
        The exit code.
    """
    _set_log(settings)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a thread reads stdin and would go on
    service = service or Service(settings, history=own_history(settings))
    _open_models(service)
    service.start()
    server = mcp.server_of(service)

    async def speaking() -> None:
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    asyncio.run(speaking())
    return _ended(service, 0)


def _set_log(settings: Settings) -> None:
    layout = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format=layout)
    logging.getLogger("sfumato").setLevel(settings.log_level.upper())
    logging.captureWarnings(True)


def _open_models(service: Service) -> None:
    """A model that is not here is said now, not to a client."""
    for name in service.settings.models:
        service.models.open(name)


def own_history(settings: Settings) -> History:
    """The history of one process among several, such as one for each program that starts us."""
    base = settings.folder
    if "folder" not in settings.model_fields_set:
        base = base.with_name("mcp")
    folders = [base, *(base.with_name(f"{base.name}-{n}") for n in range(2, PROCESSES))]
    for folder in folders:
        with suppress(ValueError):  # another process has it
            return History(folder, settings.history, settings.metadata)
    return History(base, settings.history, settings.metadata)


def _ended(service: Service, code: int) -> int:
    """Stop a service; returns the exit code, or leaves with it."""
    service.stop()
    # In a compiler, which the end of Python would disturb.
    if any(worker.is_alive() for worker in service.workers):
        sys.stderr.flush()
        os._exit(code)
    return code
