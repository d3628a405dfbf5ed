"""Servers under load: pictures a minute and latency, for 1, 4 and 16 clients.

Each client asks for the next picture as soon as it has one, over the same API. All servers run at
the same time and are asked one after the other, round by round. The model is the bundled
`mini-turbo`, with the same weights in every server: diffusers reads them from a folder that is
written for it, and paints the same picture from the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks.models import bundled
from benchmarks.records import Log
from benchmarks.servers import Asked, Load, Server, ask, ours, serving, theirs, warm
from benchmarks.suites import Plan
from benchmarks.workers import PeerError, take_turns
from sfumato.presets import PRESETS

CLIENTS = (1, 4, 16)
SECONDS = 15.0
BATCH = 16
RATE = "pictures a minute"
PERCENTS = (50, 99)


def run(plan: Plan, log: Log) -> None:
    chosen = [name.strip() for name in plan.peers.split(",")] if plan.peers else None
    servers = [
        server
        for server in rows(str(bundled("mini-turbo")))
        if server.is_installed and (chosen is None or server.name in chosen)
    ]
    clients, seconds = ((1, 2), 1.0) if plan.tiny else (CLIENTS, SECONDS)
    measure(servers, clients, seconds, plan.repeats, log)


def rows(folder: str) -> list[Server]:
    """The servers: ours with and without batches, and that of diffusers."""
    mine = [ours(backend, batch) for backend in ("openvino", "jax") for batch in (BATCH, 1)]
    return [*mine, theirs(folder)]


def measure(
    servers: list[Server], clients: tuple[int, ...], seconds: float, repeats: int, log: Log
) -> None:
    """Ask every server in turn, once to warm up and then as often as asked for."""
    with ExitStack() as stack:
        listening: list[Asked] = []
        for server in servers:
            try:
                asked = stack.enter_context(serving(server))
                warm(asked)
                listening.append(asked)
            except PeerError as error:
                log.failure(server.name, RATE, case(server, 1), str(error))
        for many in clients:
            turn = partial(ask, clients=many, seconds=seconds)
            loads, errors = take_turns(listening, repeats, 1, turn)
            for asked in listening:
                if asked.name in errors:
                    log.failure(
                        asked.server.name, RATE, case(asked.server, many), errors[asked.name]
                    )
                else:
                    record(asked.server, many, loads[asked.name], log)


def case(server: Server, clients: int) -> dict[str, Any]:
    shared = {"model": "mini-turbo", "size": PRESETS["mini-turbo"].size, "steps": 4}
    return shared | {"batch": server.batch, "clients": clients}


def record(server: Server, clients: int, loads: Sequence[Load], log: Log) -> None:
    """Write what the rounds of a server were like."""
    about = case(server, clients)
    answers = sum(len(load.latencies) for load in loads)
    log(server.name, RATE, "1/min", [load.rate for load in loads], about, answers=answers, warmup=1)
    for percent in PERCENTS:
        values = [load.percentile(percent) for load in loads]
        log(server.name, f"latency, {percent} %", "s", values, about)
