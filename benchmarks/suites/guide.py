"""The predecessor's own protocol, made fair: whole calls for three pictures of 512 x 512.

25 and 50 steps; Standard, Mixed, XLA, XLA + mixed. The same number of evaluations of the network
(25 or 50 of a guided batch), no safety checker, uint8 pictures in NumPy on every side. The first
call after the model was made (with compilation) is recorded apart from the later ones. On a CPU
only float32 is measured, and only with XLA: the other variants are for accelerators.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from benchmarks.peers import choose
from benchmarks.records import Log
from benchmarks.suites import Deadline, Plan, shown
from benchmarks.workers import PeerError, Worker, take_turns, working

HALF = "mixed_float16"


def run(plan: Plan, log: Log) -> None:
    all_variants = plan.tiny or log.common["machine"]["accelerator"] is not None
    for steps in (plan.steps,) if plan.steps else (2, 3) if plan.tiny else (25, 50):
        for dtype in ("float32", HALF) if all_variants else (plan.dtype,):
            case = plan.case(batch=3, steps=steps, dtype=dtype)
            peers = choose(plan.peers, case["model"], "guide")
            measure(case, peers, plan.repeats, log, compiled_only=not all_variants)


def arms(peer: str) -> tuple[bool | None, ...]:
    """With and without XLA, where a peer has the choice in one row; None: it has no such choice."""
    return (True, False) if peer in ("sfumato jax", "sfumato tensorflow") else (None,)


def uses_xla(peer: str, jit: bool | None) -> bool | None:
    """None where there is no XLA that could be used."""
    if jit is not None:
        return jit
    known = {"sfumato jax": True, "kerascv xla": True, "kerascv graph": False}
    return known.get(peer, True if peer == "zeromodels jax" else None)


def measure(
    case: dict[str, Any],
    peers: list[str],
    repeats: int,
    log: Log,
    deadline: Deadline | None = None,
    compiled_only: bool = False,
    labels: dict[str, str] | None = None,
) -> None:
    """Time whole calls of every peer in turn; the first call is recorded as "cold".

    Adds to what the log has of this. The first call is the only one for warming up: with 25 steps
    and a decoder it has run everything that a later one runs.
    """
    deadline = deadline or Deadline()
    chosen = {
        f"{peer} {jit}": (peer, jit, shown(case) | (labels or {}) | {"xla": uses_xla(peer, jit)})
        for peer in peers
        for jit in ((None,) if compiled_only else arms(peer))
    }
    known = {name: log.values(peer, "warm", mode) for name, (peer, _, mode) in chosen.items()}
    rounds = repeats - min(map(len, known.values()), default=repeats)
    if rounds <= 0:
        return
    with ExitStack() as stack:
        ready: list[Worker] = []
        for name, (peer, jit, mode) in chosen.items():
            given = case if jit is None else case | {"jit_compile": jit}
            worker = stack.enter_context(working(peer, name=name))
            if start(worker, given, mode, log, deadline):
                ready.append(worker)
        seconds, errors = take_turns(
            ready, rounds, 0, lambda w: w.ask("picture", deadline.timeout()), deadline.has
        )
    for name, values in seconds.items():
        peer, _, mode = chosen[name]
        if values:
            log(peer, "warm", "s", [*known[name], *values], mode, warmup=1)
    for name, error in errors.items():
        peer, _, mode = chosen[name]
        log.failure(peer, "warm", mode, error)


def start(
    worker: Worker, case: dict[str, Any], mode: dict[str, Any], log: Log, deadline: Deadline
) -> bool:
    """Load the model and make the first pictures."""
    peer = worker.peer.name
    try:
        loading = worker.ask("load", deadline.timeout(), **case)
        first = worker.ask("picture", deadline.timeout())
    except PeerError as error:
        log.failure(peer, "cold", mode, str(error))
        return False
    log(peer, "cold", "s", [*log.values(peer, "cold", mode), first], mode, **loading)
    return True
