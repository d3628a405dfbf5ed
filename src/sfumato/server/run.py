"""Serving: the application at an address, until a signal ends it."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from sfumato.server.app import make_app
from sfumato.server.service import Service
from sfumato.server.settings import Settings

log = logging.getLogger(__name__)

CONNECTIONS = 1000
"""Connections at once; more are told to come again."""
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
    layout = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format=layout)
    logging.getLogger("sfumato").setLevel(settings.log_level.upper())
    logging.captureWarnings(True)
    service = service or Service(settings)
    for name in settings.models:
        service.models.open(name)  # a model that is not here is said now, not to a client
    server = Server(configuration(service), service, announce)
    server.run()
    service.stop()
    code = 0 if server.started else 1
    if any(
        worker.is_alive() for worker in service.workers
    ):  # in a compiler, which the end of Python would disturb
        sys.stderr.flush()
        os._exit(code)
    return code
