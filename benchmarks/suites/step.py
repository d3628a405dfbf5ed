"""One guided step: its time, its rate, its part of the device's matmul rate, and by kind of layer.

The rate counts the operations of ``benchmarks.operations``: the same for every peer, whatever it
really computes. The matmul rate is the best of any peer's framework, in the same precision.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from benchmarks.models import MODELS
from benchmarks.operations import total, unet_operations
from benchmarks.peers import choose
from benchmarks.records import Log
from benchmarks.suites import Plan, shown
from benchmarks.workers import PeerError, Worker, take_turns, working


def run(plan: Plan, log: Log) -> None:
    case = plan.case()
    measure(case, choose(plan.peers, case["model"]), plan.repeats, log)
    for peer in choose(plan.peers, case["model"]):
        if peer.startswith("sfumato"):
            by_kind(peer, case, log)


def measure(
    case: dict[str, Any],
    peers: list[str],
    repeats: int,
    log: Log,
    matmul_size: int | None = None,
    timeout: float | None = None,
    environment: dict[str, str] | None = None,
    **extra: Any,
) -> None:
    """Time a guided step of every peer in turn."""
    with ExitStack() as stack:
        workers: list[Worker] = []
        for peer in peers:
            worker = stack.enter_context(working(peer, environment))
            try:
                worker.ask("load", timeout, **case)
                workers.append(worker)
            except PeerError as error:
                log.failure(peer, "step", shown(case), str(error))
        rates = matmul_rates(
            workers, case, matmul_size or (512 if "tiny" in case["model"] else 4096)
        )
        seconds, errors = take_turns(workers, repeats, 2, lambda w: w.ask("step", timeout))
    for peer, error in errors.items():
        log.failure(peer, "step", shown(case), error)
    for peer, values in seconds.items():
        rate = operations(case) / sorted(values)[len(values) // 2]
        best = max(rates.values(), default=None)
        log(
            peer,
            "step",
            "s",
            values,
            shown(case),
            warmup=2,
            flops=round(rate),
            matmul=rates,
            fraction=round(rate / best, 4) if best else None,
            **extra,
        )


def matmul_rates(workers: list[Worker], case: dict[str, Any], size: int) -> dict[str, float]:
    """The rates of large matrix products of the peers' frameworks."""
    rates: dict[str, float] = {}
    for worker in workers:
        framework = worker.peer.needs[-1]
        if framework in rates or framework == "openvino":
            continue
        try:
            rate = worker.ask("matmul", size=size, dtype=case["dtype"].removeprefix("mixed_"))
        except PeerError:
            continue
        if rate:
            rates[framework] = round(rate)
    return rates


def operations(case: dict[str, Any]) -> int:
    """Of one guided step."""
    model = MODELS[case["model"]]
    latent = case["size"] // model.vae.downsampling
    return 2 * case["batch"] * total(unet_operations(model.unet, latent, latent))


def by_kind(peer: str, case: dict[str, Any], log: Log) -> None:
    try:
        with working(peer) as worker:
            worker.ask("load", **case)
            for kind, seconds in worker.ask("kinds").items():
                log(peer, f"kind {kind}", "s", [seconds], shown(case))
    except PeerError as error:
        log.failure(peer, "kinds", shown(case), str(error))
