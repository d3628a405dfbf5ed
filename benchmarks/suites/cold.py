"""From the start of the process to the first picture, by stage, each time in a new process.

"first time" begins with an empty folder of compiled programs, "next time" is a later process that
finds them. The checkpoint is in the page cache for everyone: it is read
once before. The stages:

- start: the interpreter, until the first request is answered
- import: of the libraries
- load: networks from the file to the device
- compile: what the first call of each program takes beyond a later one
- text, steps, decode: what these take without that
- rest: everything else in the call for a picture
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.peers import choose
from benchmarks.records import Log
from benchmarks.suites import Deadline, Plan, shown
from benchmarks.workers import PeerError, working

STAGES = ("start", "import", "load", "compile", "text", "steps", "decode", "rest")
CACHE = "SFUMATO_COMPILE_CACHE"


def run(plan: Plan, log: Log) -> None:
    case = plan.case(steps=plan.steps or 2)
    measure(case, choose(plan.peers, case["model"], "cold"), plan.repeats, log)


def measure(
    case: dict[str, Any],
    peers: list[str],
    repeats: int,
    log: Log,
    deadline: Deadline | None = None,
) -> None:
    """Rounds of every peer in turn, added to those that the log has."""
    deadline = deadline or Deadline()
    read_all(Path(case["folder"]))
    results = {
        (peer, mode): list(found["rounds"])
        for peer in peers
        for mode in modes(peer)
        if (found := log.earlier(peer, "first picture", shown(case) | {"cache": mode}))
        and "rounds" in found
    }
    took = dict.fromkeys(peers, 0.0)
    for number in range(repeats):
        for peer in peers:
            if len(results.get((peer, modes(peer)[-1]), ())) > number:
                continue
            if not deadline.has(took[peer]):
                return
            begin = time.monotonic()
            for mode, seconds in one_round(peer, case, log).items():
                rounds = results.setdefault((peer, mode), [])
                rounds.append(seconds)
                record(peer, shown(case) | {"cache": mode}, rounds, log)
            took[peer] = time.monotonic() - begin


def modes(peer: str) -> tuple[str, ...]:
    """Of the cache of compiled programs, which only Sfumato keeps."""
    return ("first time", "next time") if peer.startswith("sfumato") else ("none",)


def record(peer: str, case: dict[str, Any], rounds: list[dict[str, float]], log: Log) -> None:
    """Write what there is so far, so that a run that is cut short has lost nothing."""
    totals = [r["total"] for r in rounds]
    log(peer, "first picture", "s", totals, case, stages=means(rounds), rounds=rounds)
    log(peer, "second picture", "s", [r["second"] for r in rounds], case)


def one_round(peer: str, case: dict[str, Any], log: Log) -> dict[str, dict[str, float]]:
    """The stages in every mode of the cache that the peer has."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for mode in modes(peer):
            try:
                found[mode] = first_picture(peer, case, {CACHE: folder})
            except PeerError as error:
                log.failure(peer, "first picture", shown(case) | {"cache": mode}, str(error))
    return found


def first_picture(peer: str, case: dict[str, Any], environment: dict[str, str]) -> dict[str, float]:
    """Seconds of the stages of the first picture in a new process, their total, and the second."""
    begin = time.perf_counter()
    with working(peer, environment) as worker:
        loading = worker.ask("load", **case)
        loaded = time.perf_counter() - begin
        report = worker.ask("first_pictures")
    return stages(loaded, loading, report)


def stages(loaded: float, loading: dict[str, float], report: dict[str, Any]) -> dict[str, float]:
    """The seconds of a first picture by stage; ``loaded``: until the model was made."""
    found = dict.fromkeys(STAGES, 0.0)
    found["start"] = loaded - loading["import"] - loading["load"]
    found["import"] = loading["import"]
    found["load"] = loading["load"]
    names = {"text": "text", "condition": "text", "step": "steps", "decode": "decode"}
    for name, calls in report["calls"].items():
        if name == "load":
            found["load"] += sum(calls)
            continue
        later = report["later"].get(name)
        usual = calls[0] if later is None else min(calls[0], later)
        found["compile"] += calls[0] - usual
        found[names[name]] += usual + sum(calls[1:])
    inside = sum(sum(calls) for calls in report["calls"].values())
    found["rest"] = report["first"] - inside
    return {**found, "total": loaded + report["first"], "second": report["second"]}


def means(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The mean of every stage, so that the stages add up to the mean of the total."""
    return {s: round(sum(r[s] for r in rounds) / len(rounds), 4) for s in STAGES}


def read_all(folder: Path) -> None:
    """Have the files in the page cache."""
    for file in folder.rglob("*.safetensors"):
        with file.open("rb") as stream:
            while stream.read(1 << 24):
                pass
