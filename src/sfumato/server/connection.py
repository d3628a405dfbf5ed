"""A connection of HTTP/1.1: the head of a request must be short and come soon."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from sfumato.server import door


class Connection(H11Protocol):
    """Is closed when nothing is asked or answered through it for long.

    The door, which sees a request when its head is there, has an eye on the body. Here it is what
    comes before that, and what goes on when the answer has been given. h11 reads heads of up to
    16 KiB.
    """

    _last: Any = None
    """What was asked when it was looked at."""
    _next: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._plan()

    def connection_lost(self, exc: Exception | None) -> None:
        self._next.cancel()
        super().connection_lost(exc)

    def _plan(self) -> None:
        self._next = self.loop.call_later(door.PATIENCE, self._look)

    def _look(self) -> None:
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self.scope is self._last:
            self.transport.close()
            return
        self._last = self.scope
        self._plan()
