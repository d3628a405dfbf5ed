"""A server as a process of its own, whose painter is a fake one unless the test says otherwise."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import psutil

FAKE = """
import sys
from pathlib import Path
sys.path[:0] = {tests!r}
from fake_painters import Studio
from sfumato.server.run import serve
studio = Studio(Path({folder!r}), **{settings!r})
studio.painter.pace = {pace}
{change}
sys.exit(serve(studio.settings, lambda address: print(address, flush=True), studio.service))
"""


def fake(folder: Path, pace: float = 0.0, change: str = "", **settings: Any) -> str:
    """The code of a server with a fake painter.

    Args:
        folder: of the history.
        pace: seconds of a step.
        change: code that runs before it serves and may change `studio`.
        settings: of the server.
    """
    tests = [str(folder) for folder in Path(__file__).parents[:2]]
    given: dict[str, Any] = {"tests": tests, "folder": str(folder), "pace": pace, "change": change}
    return FAKE.format(settings=settings, **given)


@dataclass
class Server:
    """A process that serves."""

    process: subprocess.Popen[str]
    client: httpx.Client
    log: BinaryIO

    def said(self) -> str:
        """What it has written to stderr."""
        self.log.seek(0)
        return self.log.read().decode()

    def memory(self) -> int:
        """The bytes that it has in memory."""
        return psutil.Process(self.process.pid).memory_info().rss

    def end(self, url: str) -> dict[str, Any]:
        """The job of a path when it has ended."""
        until = time.monotonic() + 30
        while (job := self.client.get(url).json())["state"] in ("queued", "running"):
            assert time.monotonic() < until, job
            time.sleep(0.02)
        return job


@contextmanager
def serving(code: str, **headers: str) -> Iterator[Server]:
    """A process of Python that prints the address of its server; it is killed in the end."""
    with tempfile.TemporaryFile() as log:  # a pipe would hold it up when it is full
        made = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert made.stdout is not None
        try:
            address = made.stdout.readline().strip()
            assert address, log.seek(0) or log.read().decode()
            with httpx.Client(base_url=address, timeout=30, headers=headers) as client:
                yield Server(made, client, log)
        finally:
            made.kill()
            made.communicate()
