"""Time and memory against batch, size and steps, and the exponent of each.

time = a * x ** exponent, fitted by least squares in logarithms: 1 is proportional. The exponents
are fitted when the page is made, from the records.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks.peers import choose
from benchmarks.records import Log
from benchmarks.suites import Deadline, Plan, shown
from benchmarks.workers import PeerError, take_turns, working

VALUES = {"batch": (1, 2, 4), "size": (256, 384, 512, 768), "steps": (5, 10, 20)}
TINY = {"batch": (1, 2), "size": (256, 512), "steps": (1, 2)}


def run(plan: Plan, log: Log) -> None:
    for axis, values in (TINY if plan.tiny else VALUES).items():
        for value in values:
            case = plan.case(**{axis: value})
            peers = choose(plan.peers, case["model"], "scale")
            measure(axis, case, peers, plan.repeats, log)


def method_of(axis: str) -> str:
    """What is timed: a step, or a picture where the number of steps is what changes."""
    return "picture" if axis == "steps" else "step"


def measure(
    axis: str,
    case: dict[str, Any],
    peers: list[str],
    repeats: int,
    log: Log,
    deadline: Deadline | None = None,
) -> None:
    """Time every peer in turn, and add to what the log has of this."""
    deadline, method = deadline or Deadline(), method_of(axis)
    mode = shown(case) | {"axis": axis}
    known = {peer: log.values(peer, method, mode) for peer in peers}
    rounds = repeats - min(map(len, known.values()), default=repeats)
    if rounds <= 0:
        return
    with ExitStack() as stack:
        workers = []
        for peer in peers:
            worker = stack.enter_context(working(peer))
            try:
                worker.ask("load", deadline.timeout(), **case)
                workers.append(worker)
            except PeerError as error:
                log.failure(peer, method, mode, str(error))
        seconds, errors = take_turns(
            workers, rounds, 1, lambda w: w.ask(method, deadline.timeout()), deadline.has
        )
        memory = {w.name: w.ask("memory") for w in workers if seconds.get(w.name)}
    for peer, error in errors.items():
        log.failure(peer, method, mode, error)
    for peer, values in seconds.items():
        if values:
            log(peer, method, "s", [*known[peer], *values], mode, memory=memory[peer], warmup=1)


def exponents(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, float, int]]:
    """(peer, model, axis, exponent, number of values) of everything with two values or more.

    Points belong together if their cases differ in nothing but the axis.
    """
    points: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for r in records:
        axis = r["case"].get("axis")
        if axis and "error" not in r:
            others = {k: v for k, v in r["case"].items() if k != axis}
            key = (r["peer"], r["case"]["model"], axis, repr(sorted(others.items())))
            points.setdefault(key, []).append((r["case"][axis], r["median"]))
    return [
        (peer, model, axis, exponent(found), len(found))
        for (peer, model, axis, _), found in points.items()
        if len(found) > 1
    ]


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The slope of log(y) over log(x)."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum(
        (x - mean_x) ** 2 for x, _ in logs
    )
