"""Time and memory against batch, size and steps, and the exponent of each.

time = a * x ** exponent, fitted by least squares in logarithms: 1 is proportional.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks.peers import choose
from benchmarks.records import Log
from benchmarks.suites import Plan, shown
from benchmarks.workers import PeerError, take_turns, working

VALUES = {"batch": (1, 2, 4), "size": (256, 384, 512, 768), "steps": (5, 10, 20)}
TINY = {"batch": (1, 2), "size": (256, 512), "steps": (1, 2)}
SKIP = ("diffusers openvino", "kerascv graph", "kerascv xla")


def run(plan: Plan, log: Log) -> None:
    for axis, values in (TINY if plan.tiny else VALUES).items():
        times: dict[str, list[tuple[int, float]]] = {}
        for value in values:
            case = plan.case(**{axis: value})
            peers = choose(plan.peers, case["model"], SKIP)
            for peer, seconds in one(axis, case, peers, plan.repeats, log).items():
                times.setdefault(peer, []).append((value, seconds))
        for peer, points in times.items():
            if len(points) > 1:
                log(peer, f"exponent of {axis}", "", [exponent(points)], {"model": case["model"]})


def one(
    axis: str, case: dict[str, Any], peers: list[str], repeats: int, log: Log
) -> dict[str, float]:
    """Median seconds of a step, or of a picture where the number of steps is what changes."""
    method = "picture" if axis == "steps" else "step"
    with ExitStack() as stack:
        workers = []
        for peer in peers:
            worker = stack.enter_context(working(peer))
            try:
                worker.ask("load", **case)
                workers.append(worker)
            except PeerError as error:
                log.failure(peer, method, shown(case), str(error))
        seconds, errors = take_turns(workers, repeats, 1, lambda w: w.ask(method))
        memory = {w.peer.name: w.ask("memory") for w in workers if w.peer.name in seconds}
    for peer, error in errors.items():
        log.failure(peer, method, shown(case), error)
    found = {}
    for peer, values in seconds.items():
        record = log(
            peer, method, "s", values, shown(case), axis=axis, memory=memory[peer], warmup=1
        )
        found[peer] = record["median"]
    return found


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The slope of log(y) over log(x)."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum(
        (x - mean_x) ** 2 for x, _ in logs
    )
