"""A model that paints without a network: pictures of one colour, at the pace that a test says."""

from __future__ import annotations

import socket
import threading
import time
import zlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn

from fake_models import FakeSettings
from sfumato.picture import Picture
from sfumato.request import Request
from sfumato.server.history import History
from sfumato.server.models import Models
from sfumato.server.run import configuration
from sfumato.server.service import Service
from sfumato.server.settings import Served, Settings, read_settings


@dataclass(frozen=True)
class FakeStep:
    """As `generation.Step`, whose module loads Keras."""

    step: int
    steps: int
    denoised: np.ndarray

    def preview(self) -> np.ndarray:
        return self.denoised[..., :3].astype("uint8")


class FakePainter:
    """Paints in ``steps`` steps; notes the seeds of each batch.

    Attributes:
        pace: seconds of a step.
        gate: closed, it holds the painter before each step.
        flags: of the pictures.
        trouble: is called with the requests of a batch before its first step, and may raise.
    """

    def __init__(self, served: Served, name: str = "fake") -> None:
        self.served = served
        self.batches: list[list[int]] = []
        self.steps_done = 0
        self.pace = 0.0
        self.gate = threading.Event()
        self.gate.set()
        self.trouble: Callable[[Sequence[Request]], Any] = lambda requests: None
        self.flags: tuple[str, ...] = ()
        self.is_loaded = False
        self.loads = 0
        self.bytes = 100

    def completed(self, request: Request) -> Request:
        return request.completed(FakeSettings(name="fake"))  # type: ignore[arg-type]

    def stream(self, requests: Sequence[Request]) -> Generator[Any]:
        if not self.is_loaded:
            self.is_loaded, self.loads = True, self.loads + 1
        self.batches.append([request.seed or 0 for request in requests])
        self.trouble(requests)
        steps = requests[0].steps or 1
        for step in range(1, steps + 1):
            self.gate.wait(10)
            time.sleep(self.pace)
            self.steps_done += 1
            yield FakeStep(step, steps, np.full((len(requests), 2, 2, 4), step, "float32"))
        for single in [single for request in requests for single in request.singles()]:
            yield Picture(pixels_of(single), single, self.flags)

    def unload(self) -> None:
        self.is_loaded = False

    def size(self) -> int:
        return self.bytes

    def facts(self) -> dict[str, Any]:
        return {"model": self.served.source, "size": 16, "steps": 4}


def pixels_of(request: Request) -> np.ndarray:
    """The picture that the painter makes of a request."""
    colour = zlib.crc32(repr((request.prompt, request.seed)).encode()) % 2**24
    channels = [colour >> shift & 255 for shift in (16, 8, 0)]
    size = (request.height or 16, request.width or 16, 3)
    return np.broadcast_to(np.array(channels, "uint8"), size).copy()


def settings(folder: Path, **given: Any) -> Settings:
    return read_settings(
        folder=folder, **{"models": ["fake=mini"], "batch_wait": 0, "port": 0} | given
    )


class Studio:
    """A service with fake painters."""

    def __init__(self, folder: Path, devices: int = 1, **given: Any) -> None:
        self.settings = settings(folder, **given)
        self.painters: dict[str, FakePainter] = {}
        shelves = [Models(self.settings, self._open, lambda: 2.0**40) for _ in range(devices)]
        self.models = shelves[0]
        self.history = History(self.settings.folder, self.settings.history)
        self.service = Service(self.settings, shelves, self.history)

    def _open(self, served: Served) -> FakePainter:
        return self.painters.setdefault(served.source, FakePainter(served))

    @property
    def painter(self) -> FakePainter:
        """The one that paints with the default model."""
        painter = self.models.open(self.settings.default_model)
        assert isinstance(painter, FakePainter)
        return painter


class Live:
    """A server of a studio that listens, in a thread."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._server = uvicorn.Server(configuration(studio.service))
        self.app: Any = self._server.config.app.app  # type: ignore[union-attr]  # behind the door
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.address, timeout=20)

    def asked(self) -> dict[str, Any]:
        """The request of the newest job."""
        return self.client.get("/v1/jobs?limit=1").json()["jobs"][0]["request"]

    def fill(self) -> None:
        """Let the painter wait at its gate with a job of the default model, and fill the queue."""
        painter = self.studio.painter
        painter.gate.clear()
        self.client.post("/v1/jobs", json={"prompt": "x"})
        while not painter.batches:  # until then that job is in the queue
            time.sleep(0.005)
        while self.client.post("/v1/jobs", json={"prompt": "x"}).status_code == 202:
            pass

    def stop(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(5)

    def raw(self, request: bytes) -> bytes:
        """What comes back for these bytes, up to the end of the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        return answer
