"""Servers in processes of their own, and clients that ask them without a pause."""

from __future__ import annotations

import asyncio
import base64
import math
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from typing import Any

import uvicorn

from benchmarks.workers import ROOT, PeerError
from sfumato.presets import PRESETS

PATH = "/v1/images/generations"
SIZE = "{0}x{0}".format(PRESETS["mini-turbo"].size)
START = 300  # seconds in which a server must listen
PROMPTS = ("a red apple", "a cartoon of a yellow duck", "pixel art of a castle", "two green fish")


class Announcing(uvicorn.Server):
    """Prints its address when it listens, as ``sfumato serve`` does."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            print(f"http://127.0.0.1:{port}", flush=True)


@dataclass(frozen=True)
class Server:
    """A server that can be measured.

    Attributes:
        name: of the peer.
        batch: pictures that it may paint together.
        command: arguments of Python.
        needs: packages that must be installed.
        environment: variables of its process.
    """

    name: str
    batch: int
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def is_installed(self) -> bool:
        return all(find_spec(package) is not None for package in self.needs)


def ours(backend: str, batch: int) -> Server:
    """`sfumato serve` on a Keras backend."""
    words = (
        f"-m sfumato serve mini-turbo --port 0 --log-level error --keep-alive -1 --batch {batch}"
    )
    settings = {"KERAS_BACKEND": backend, "SFUMATO_KEEP_ALIVE": "-1"}
    settings |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return Server(f"sfumato {backend}", batch, tuple(words.split()), (backend,), settings)


def theirs(folder: str) -> Server:
    """The server on diffusers."""
    words = ("-m", "benchmarks.peers.diffusers_server", folder)
    return Server("diffusers", 1, words, ("diffusers", "transformers", "torch"))


@dataclass(frozen=True)
class Asked:
    """A server that listens."""

    server: Server
    address: str

    @property
    def name(self) -> str:
        return f"{self.server.name}, {self.server.batch}"


@contextmanager
def serving(server: Server) -> Iterator[Asked]:
    """Start a server.

    Raises:
        PeerError: it does not listen.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "HF_HUB_OFFLINE": "1",
            "SFUMATO_FOLDER": folder,
            **server.environment,
        }
        process = subprocess.Popen(
            [sys.executable, *server.command], stdout=subprocess.PIPE, stderr=log, cwd=ROOT, env=env
        )
        try:
            assert process.stdout is not None
            listens = select.select([process.stdout], [], [], START)[0]
            address = process.stdout.readline().decode().strip() if listens else ""
            if not address:
                log.seek(0)
                lines = log.read().decode(errors="replace").strip().splitlines()
                raise PeerError(f"{server.name} does not listen. {lines[-1] if lines else ''}")
            yield Asked(server, address)
        finally:
            process.kill()
            process.communicate()


@dataclass(frozen=True)
class Load:
    """What clients saw of a server: the seconds of each answer, and how long they asked."""

    latencies: Sequence[float]
    seconds: float

    @property
    def rate(self) -> float:
        """Pictures a minute."""
        return 60 * len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """The least latency that so many percent of the answers did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


def ask(asked: Asked, clients: int, seconds: float) -> Load:
    """Let clients ask for pictures, each for the next as soon as it has one.

    Answers that come after the time count, and so does the time until the last of them.

    Raises:
        PeerError: an answer was none of a picture.
    """
    return asyncio.run(_ask(asked.address, clients, seconds))


def warm(asked: Asked) -> None:
    """Have a server paint batches of all sizes, so that it has compiled what it needs.

    Raises:
        PeerError: it cannot.
    """
    import httpx

    for power in range(asked.server.batch.bit_length()):
        wish = {"prompt": PROMPTS[0], "seed": 0, "size": SIZE, "n": 2**power}
        try:
            answer = httpx.post(f"{asked.address}{PATH}", json=wish, timeout=600)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise PeerError(f"{type(error).__name__}: {error}") from error


async def _ask(address: str, clients: int, seconds: float) -> Load:
    import httpx

    latencies: list[float] = []
    seeds = count(1)

    async def client(http: httpx.AsyncClient) -> None:
        while time.perf_counter() - begin < seconds:
            seed = next(seeds)
            wish = {"prompt": PROMPTS[seed % len(PROMPTS)], "seed": seed, "size": SIZE}
            start = time.perf_counter()
            answer = await http.post(PATH, json=wish)
            latencies.append(time.perf_counter() - start)
            if answer.status_code != 200 or not is_picture(answer.json()):
                raise PeerError(f"{answer.status_code}: {answer.text[:200]}")

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=600, limits=limits) as http:
        begin = time.perf_counter()
        try:
            await asyncio.gather(*(client(http) for _ in range(clients)))
        except httpx.HTTPError as error:
            raise PeerError(f"{type(error).__name__}: {error}") from error
    return Load(latencies, time.perf_counter() - begin)


def is_picture(answer: dict[str, Any]) -> bool:
    """Whether an answer has one PNG."""
    (picture,) = answer["data"]
    return base64.b64decode(picture["b64_json"]).startswith(b"\x89PNG")
