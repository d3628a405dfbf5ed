"""The predecessor's own protocol, made fair: whole calls for three pictures of 512 x 512.

25 and 50 steps; Standard, Mixed, XLA, XLA + mixed. The same number of evaluations of the network
(25 or 50 of a guided batch), no safety checker, uint8 pictures in NumPy on every side. The first
call after the model was made (with compilation) is recorded apart from the later ones.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from benchmarks.peers import choose
from benchmarks.records import Log
from benchmarks.suites import Plan, shown
from benchmarks.workers import PeerError, Worker, take_turns, working

HALF = "mixed_float16"


def run(plan: Plan, log: Log) -> None:
    on_accelerator = log.common["machine"]["accelerator"] is not None
    for steps in (plan.steps,) if plan.steps else (2, 3) if plan.tiny else (25, 50):
        for dtype in ("float32", HALF) if on_accelerator or plan.tiny else ("float32",):
            case = plan.case(batch=3, steps=steps, dtype=dtype)
            measure(case, choose(plan.peers, case["model"]), plan.repeats, log)


def arms(peer: str) -> tuple[bool | None, ...]:
    """With and without XLA, where a peer has the choice in one row; None: it has no such choice."""
    return (False, True) if peer in ("sfumato jax", "sfumato tensorflow") else (None,)


def uses_xla(peer: str, jit: bool | None) -> bool | None:
    """None where there is no XLA that could be used."""
    if jit is not None:
        return jit
    return {"sfumato jax": True, "kerascv xla": True, "kerascv graph": False}.get(peer)


def measure(
    case: dict[str, Any],
    peers: list[str],
    repeats: int,
    log: Log,
    timeout: float | None = None,
    compiled_only: bool = False,
) -> None:
    """Time whole calls of every peer in turn; the first call is recorded as "cold"."""
    arms_of = {peer: (None,) if compiled_only else arms(peer) for peer in peers}
    for jit in (None, True, False):
        chosen = [peer for peer in peers if jit in arms_of[peer]]
        given = case if jit is None else case | {"jit_compile": jit}
        with ExitStack() as stack:
            workers = [stack.enter_context(working(peer)) for peer in chosen]
            ready = [w for w in workers if start(w, given, log, timeout)]
            seconds, errors = take_turns(ready, repeats, 1, lambda w: w.ask("picture", timeout))
        for peer, values in seconds.items():
            mode = shown(given) | {"xla": uses_xla(peer, jit)}
            log(peer, "warm", "s", values, mode, warmup=2)
        for peer, error in errors.items():
            log.failure(peer, "warm", shown(given), error)


def start(worker: Worker, case: dict[str, Any], log: Log, timeout: float | None) -> bool:
    """Load the model and make the first pictures."""
    try:
        loading = worker.ask("load", timeout, **case)
        first = worker.ask("picture", timeout)
    except PeerError as error:
        log.failure(worker.peer.name, "cold", shown(case), str(error))
        return False
    log(worker.peer.name, "cold", "s", [first], shown(case), **loading)
    return True
