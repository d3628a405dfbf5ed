"""One guided step: its time, its rate, its part of the device's matmul rate, and by kind of layer.

The rate counts the operations of ``benchmarks.operations``: the same for every peer, whatever it
really computes. The matmul rate is the best of any peer's framework, in the same precision.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from benchmarks.models import MODELS
from benchmarks.operations import total, unet_operations
from benchmarks.peers import PEERS, choose
from benchmarks.records import Log
from benchmarks.suites import Plan, shown
from benchmarks.workers import PeerError, Worker, take_turns, working


def run(plan: Plan, log: Log) -> None:
    case = plan.case()
    on_accelerator = log.common["machine"]["accelerator"] is not None
    size, times = (8192, 10) if on_accelerator else (4096, 1)
    rates = matmul_rates(case["dtype"], 512 if plan.tiny else size)
    measure(case, choose(plan.peers, case["model"]), plan.repeats, log, rates, times)
    for peer in choose(plan.peers, case["model"]):
        if peer.startswith("sfumato"):
            by_kind(peer, case, log)


def measure(
    case: dict[str, Any],
    peers: list[str],
    repeats: int,
    log: Log,
    rates: dict[str, float],
    times: int = 1,
    timeout: float | None = None,
    environment: dict[str, str] | None = None,
    **extra: Any,
) -> None:
    """Time a guided step of every peer in turn; ``rates``: of matrix products, by framework."""
    with ExitStack() as stack:
        workers: list[Worker] = []
        for peer in peers:
            worker = stack.enter_context(working(peer, environment))
            try:
                worker.ask("load", timeout, **case)
                workers.append(worker)
            except PeerError as error:
                log.failure(peer, "step", shown(case), str(error))
        seconds, errors = take_turns(
            workers, repeats, 2, lambda w: w.ask("step", timeout, times=times)
        )
    for peer, error in errors.items():
        log.failure(peer, "step", shown(case), error)
    for peer, values in seconds.items():
        rate = operations(case) / sorted(values)[len(values) // 2]
        log(
            peer,
            "step",
            "s",
            values,
            shown(case),
            warmup=2,
            flops=round(rate),
            times=times,
            matmul=rates,
            fraction=round(rate / max(rates.values()), 4) if rates else None,
            **extra,
        )


def matmul_rates(dtype: str, size: int, timeout: float | None = None) -> dict[str, float]:
    """Operations a second of large matrix products in each framework that is installed."""
    rates = {}
    for peer in ("ceiling jax", "ceiling torch"):
        if not PEERS[peer].is_installed:
            continue
        try:
            with working(peer) as worker:
                arguments = {"size": size, "dtype": dtype.removeprefix("mixed_")}
                rates[peer.split()[1]] = round(worker.ask("matmul", timeout, **arguments))
        except PeerError:  # a precision that the framework does not have
            continue
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
