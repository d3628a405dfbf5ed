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
from benchmarks.records import Log, accelerator
from benchmarks.suites import Deadline, Plan, shown
from benchmarks.workers import PeerError, Worker, take_turns, working

KINDS_OF = ("ours", "diffusers")  # runners that time layers by kind


def run(plan: Plan, log: Log) -> None:
    case = plan.case()
    peers = choose(plan.peers, case["model"], "step")
    on_accelerator = log.common["machine"]["accelerator"] is not None
    rates = matmul_rates(case["dtype"], matmul_size(plan.tiny, on_accelerator))
    measure(case, peers, plan.repeats, log, rates, 10 if on_accelerator else 1)
    for peer in peers:
        row = PEERS[peer]
        if row.module in KINDS_OF and not {"compiled", "openvino"} & set(row.options):
            by_kind(peer, case, log)


def matmul_size(tiny: bool, on_accelerator: bool) -> int:
    """The side of the matrices whose product is the device's rate."""
    return 512 if tiny else 8192 if on_accelerator else 4096


def measure(
    case: dict[str, Any],
    peers: list[str],
    repeats: int,
    log: Log,
    rates: dict[str, float],
    times: int = 1,
    deadline: Deadline | None = None,
    environment: dict[str, str] | None = None,
    warmup: int = 2,
    method: str = "step",
    labels: dict[str, str] | None = None,
    **extra: Any,
) -> None:
    """Time a guided step of every peer in turn, and add to what the log has of this.

    Args:
        case: arguments of ``peers.common.Case``.
        peers: their names.
        repeats: timed rounds.
        log: where the results go.
        rates: of matrix products, by framework.
        times: steps that are sent without waiting in between.
        deadline: when to stop.
        environment: variables of the workers' processes.
        warmup: rounds that are not timed.
        method: of the runners: "step", "loop" or "placed".
        labels: what else tells this measurement from others.
        extra: for the records.
    """
    deadline, mode = deadline or Deadline(), shown(case) | (labels or {})
    known = {peer: log.values(peer, "step", mode) for peer in peers}
    rounds = repeats - min(map(len, known.values()), default=repeats)
    if rounds <= 0:
        return
    with ExitStack() as stack:
        workers: list[Worker] = []
        for peer in peers:
            worker = stack.enter_context(working(peer, environment))
            try:
                worker.ask("load", deadline.timeout(), **case)
                workers.append(worker)
            except PeerError as error:
                log.failure(peer, "step", mode, str(error))
        seconds, errors = take_turns(
            workers,
            rounds,
            warmup,
            lambda w: w.ask(method, deadline.timeout(), times=times),
            deadline.has,
        )
    for peer, error in errors.items():
        log.failure(peer, "step", mode, error)
    for peer, values in seconds.items():
        if not values:  # no time was left after the warm-up
            continue
        values = [*known[peer], *values]
        rate = operations(case) / sorted(values)[len(values) // 2]
        log(
            peer,
            "step",
            "s",
            values,
            mode,
            warmup=warmup,
            flops=round(rate),
            times=times,
            matmul=rates,
            fraction=round(rate / max(rates.values()), 4) if rates else None,
            **extra,
        )


def matmul_rates(dtype: str, size: int, timeout: float | None = None) -> dict[str, float]:
    """Operations a second of large matrix products in each framework that is installed."""
    rates = {}
    for peer in ("ceiling jax", "ceiling torch", "ceiling openvino"):
        if not PEERS[peer].is_installed or (accelerator() and "openvino" in peer):
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


def by_kind(
    peer: str, case: dict[str, Any], log: Log, timeout: float | None = None, **labels: str
) -> None:
    """Seconds of the layers of a step by kind."""
    mode = shown(case) | labels
    try:
        with working(peer) as worker:
            worker.ask("load", timeout, **case)
            for kind, seconds in worker.ask("kinds", timeout).items():
                log(peer, f"kind {kind}", "s", [seconds], mode)
    except PeerError as error:
        log.failure(peer, "kinds", mode, str(error))
