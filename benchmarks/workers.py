"""Peers in processes of their own, which take turns: A B C A B C, one at a time.

Frameworks disturb each other in one process (threads, memory, Keras' one backend), and a machine
drifts over minutes. So each peer is a worker that does what it is told and then waits, and what is
repeated is the round.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.peers import PEERS, Peer

ROOT = Path(__file__).parent.parent


class PeerError(RuntimeError):
    """A worker failed, died or took too long."""


class Worker:
    """A process in which one peer is loaded.

    Args:
        peer: its name in ``PEERS``.
        environment: variables beside those of the peer.
        name: what tells it from other workers of the peer [the peer's name].
    """

    def __init__(
        self, peer: str, environment: Mapping[str, str] | None = None, name: str | None = None
    ) -> None:
        self.peer = PEERS[peer]
        self.name = name or peer
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "HF_HUB_OFFLINE": "1",
            **self.peer.environment,
            **(environment or {}),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", peer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            cwd=ROOT,
            env=env,
        )
        self.buffer = b""

    def ask(self, method: str, timeout: float | None = None, **arguments: Any) -> Any:
        """Call a method of the worker's peer; the result, as JSON has it.

        Raises:
            PeerError: the method raised, the process died or ``timeout`` seconds passed.
        """
        request = json.dumps({"method": method, "arguments": arguments}) + "\n"
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(request.encode())
            self.process.stdin.flush()
        except OSError as error:
            raise PeerError(f"{self.peer.name} has ended. {self.tail()}") from error
        reply = json.loads(self.read_line(timeout, method))
        if "error" in reply:
            raise PeerError(reply["error"])
        return reply["result"]

    def read_line(self, timeout: float | None, method: str) -> bytes:
        assert self.process.stdout is not None
        file = self.process.stdout.fileno()
        end = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self.buffer:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([file], [], [], left)[0]:
                self.close()
                raise PeerError(f"{self.peer.name}: {method} took longer than {timeout:.0f} s")
            chunk = os.read(file, 1 << 16)
            if not chunk:
                code = self.process.wait()
                raise PeerError(f"{self.peer.name} ended with code {code}. {self.tail()}")
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def tail(self) -> str:
        """The last line of what the process wrote to stderr."""
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - 4000))
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self) -> None:
        """End the process."""
        if self.process.stdin:
            with suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.log.close()


@contextmanager
def working(
    peer: str, environment: Mapping[str, str] | None = None, name: str | None = None
) -> Iterator[Worker]:
    worker = Worker(peer, environment, name)
    try:
        yield worker
    finally:
        worker.close()


def take_turns(
    workers: Sequence[Any],
    rounds: int,
    warmup: int,
    turn: Any,
    fits: Callable[[float], bool] = lambda _: True,
) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """``turn(worker)``, such as seconds, of every worker in turn, ``warmup + rounds`` times.

    Args:
        workers: who takes turns.
        rounds: that count.
        warmup: rounds before those.
        turn: what one does in its turn.
        fits: told how long the last round took, whether another one may begin.

    Returns:
        The values of the rounds after the warm-up by the name of the worker, and the error of each
        that failed; one that failed has no more turns.
    """
    seconds: dict[str, list[Any]] = {worker.name: [] for worker in workers}
    errors: dict[str, str] = {}
    took = 0.0
    for number in range(warmup + rounds):
        if not fits(took):
            break
        start = time.monotonic()
        for worker in workers:
            if worker.name in errors:
                continue
            try:
                value = turn(worker)
            except PeerError as error:
                errors[worker.name] = str(error)
                continue
            if number >= warmup:
                seconds[worker.name].append(value)
        took = time.monotonic() - start
    return {name: values for name, values in seconds.items() if name not in errors}, errors


__all__ = ["Peer", "PeerError", "Worker", "take_turns", "working"]
