"""The most memory that a process ever needed: resident on the host, in use on the device.

Resident memory counts the pages of memory-mapped checkpoints that are in use, for every peer.
"host, spared" is Sfumato on OpenVINO as it runs where little memory is left.
"""

from __future__ import annotations

from typing import Any

from benchmarks.peers import choose
from benchmarks.records import Log
from benchmarks.suites import Plan, shown
from benchmarks.workers import PeerError, working

SPARING = "sfumato openvino"


def run(plan: Plan, log: Log) -> None:
    case = plan.case(steps=plan.steps or 2)
    measure(case, choose(plan.peers, case["model"], "memory"), log)


def measure(case: dict[str, Any], peers: list[str], log: Log, timeout: float | None = None) -> None:
    for peer in peers:
        try:
            record(peer, case, peaks(peer, case, timeout), log)
            if peer == SPARING:
                bytes = peaks(peer, case, timeout, spared=True)["picture"]["host"]
                log(peer, "host, spared memory", "GiB", [bytes / 2**30], shown(case))
        except PeerError as error:
            log.failure(peer, "host memory", shown(case), str(error))


def peaks(
    peer: str, case: dict[str, Any], timeout: float | None = None, spared: bool = False
) -> dict[str, Any]:
    """Peak bytes after loading and after a picture, in a process of its own."""
    with working(peer) as worker:
        worker.ask("load", timeout, **case)
        if spared:
            worker.ask("spare_memory")
        loaded = worker.ask("memory")
        worker.ask("picture", timeout)
        return {"loaded": loaded, "picture": worker.ask("memory")}


def record(peer: str, case: dict[str, Any], found: dict[str, Any], log: Log) -> None:
    for place in ("host", "device"):
        bytes = found["picture"][place]
        if bytes:
            loaded = found["loaded"][place]
            log(peer, f"{place} memory", "GiB", [bytes / 2**30], shown(case), loaded=loaded)
