"""What matters on a CPU, in slices of limited length that go on where the last one stopped.

    python -m benchmarks cpu --minutes 8 --json FILE

Every row is one measurement of at most a few minutes. A row is done when FILE has all its rounds,
measured at this commit on this machine, or the reason why it cannot be measured; rows that are not
done are begun in their order while there is time for them. Repeat the command until nothing is
left.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers import PEERS
from benchmarks.records import Log
from benchmarks.suites import Deadline, Plan, cold, guide, memory, mini, scale, shown, step

Thing = tuple[str, str, dict[str, Any]]  # peer, metric, case


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        kind: what to do, a key of ``DO``.
        peers: who takes turns; at most two, because all are in memory at the same time.
        seconds: about how long it takes on two cores, loading and warm-up included.
        changes: of the case.
    """

    kind: str
    peers: tuple[str, ...]
    seconds: int
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def suite(self) -> str:
        return "step" if self.kind == "kinds" else self.kind

    @property
    def axis(self) -> str:
        """What a row of "scale" varies: the last of its changes."""
        return list(self.changes)[-1]

    @property
    def labels(self) -> dict[str, str]:
        """Who it took turns with, which keeps a step apart from the same step in another row."""
        return {"turns": ", ".join(self.peers)} if self.kind in ("step", "guide") else {}

    def installed(self) -> list[str]:
        return [peer for peer in self.peers if PEERS[peer].is_installed]

    def __str__(self) -> str:
        changes = " ".join(f"{key}={value}" for key, value in self.changes.items())
        return f"{self.kind} ({changes})".replace(" ()", "") + ": " + ", ".join(self.peers)


OURS, THEIRS = "sfumato openvino", "diffusers"
GUIDE = {"batch": 3, "steps": 2}
SMALL = {"size": 256}

ROWS = (
    Row("step", (OURS, THEIRS), 190),
    Row("step", (OURS, "diffusers openvino"), 180),
    Row("step", (OURS, "sfumato jax"), 190),
    Row("step", ("sfumato torch", THEIRS), 160),
    Row("step", ("sfumato tensorflow", THEIRS), 180),
    Row("mini", ("sfumato jax", OURS), 300),
    Row("memory", (OURS,), 90, {"steps": 2}),
    Row("memory", (THEIRS,), 90, {"steps": 2}),
    Row("cold", (OURS, THEIRS), 260, {"steps": 2}),
    Row("guide", (OURS, THEIRS), 420, GUIDE),
    Row("guide", (OURS, "kerascv graph"), 420, GUIDE),
    Row("step", (OURS, "kerascv graph"), 250),
    Row("step", (OURS, "kerascv xla"), 280),
    Row("step", (OURS, "diffusers channels_last"), 190),
    Row("kinds", (OURS,), 180),
    Row("kinds", (THEIRS,), 120),
    Row("step", (OURS, "zeromodels torch"), 280),
    Row("step", (OURS, "zeromodels jax"), 400),
    Row("step", (OURS, "diffusers compiled"), 400),
    *(Row("step", (OURS, THEIRS), 190, {"model": name}) for name in ("sd2.1", "bk-sdm-tiny")),
    *(Row("step", (peer,), 300, {"model": "sdxl"}) for peer in (OURS, THEIRS)),
    *(
        Row("memory", (peer,), 180, {"model": name, "steps": 2})
        for name in ("bk-sdm-tiny", "sdxl")
        for peer in (OURS, THEIRS)
    ),
    *(Row("scale", (OURS, THEIRS), 90 * b + 60, {"batch": b}) for b in (1, 2, 3)),
    *(Row("scale", (OURS, THEIRS), s * s // 1500 + 60, {"size": s}) for s in (256, 384, 768)),
    *(Row("scale", (OURS, THEIRS), 24 * n + 90, {**SMALL, "steps": n}) for n in (2, 4, 8)),
    Row("kinds", ("sfumato jax",), 180),
    Row("cold", ("sfumato jax",), 220, {"steps": 2}),
    *(
        Row("memory", (peer,), 120, {"steps": 2})
        for peer in ("sfumato jax", "kerascv graph", "kerascv xla")
    ),
)


def run(plan: Plan, log: Log) -> None:
    deadline = Deadline(plan.minutes)
    kinds = plan.parts.split(",") if plan.parts else list(DO)
    if unknown := set(kinds) - set(DO):
        raise SystemExit(f"--parts must be of {', '.join(DO)}. Received: {', '.join(unknown)}")
    logs = {suite: Log(log.path, suite, plan.tiny, resume=True) for suite in DO if suite != "kinds"}
    begun = 0
    rows = [row for row in ROWS if row.kind in kinds]
    for row in rows:
        # A row longer than a slice is begun at a slice's start, and adds rounds in the next.
        if is_done(row, plan, logs[row.suite]) or (begun and not deadline.has(row.seconds)):
            continue
        if deadline.is_over():
            break
        begun += 1
        say(f"--- {row}")
        DO[row.kind](row, plan, logs[row.suite], deadline)
    log.records += [record for each in logs.values() for record in each.records]
    left = [row for row in rows if not is_done(row, plan, logs[row.suite])]
    say(f"{len(rows) - len(left)} of {len(rows)} done at this commit.")
    for row in left:
        say(f"left: {row} (about {row.seconds} s)")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def is_done(row: Row, plan: Plan, log: Log) -> bool:
    return all(thing_is_done(thing, row, plan, log) for thing in things(row, plan))


def thing_is_done(thing: Thing, row: Row, plan: Plan, log: Log) -> bool:
    """Whether the log has all rounds of it, or the reason why there are none."""
    peer, metric, case = thing
    failed = any(r["peer"] == peer and r["case"] == case and "error" in r for r in log.records)
    wanted = 1 if row.kind in ("memory", "kinds") else plan.repeats
    return failed or len(log.values(peer, metric, case)) >= wanted


def things(row: Row, plan: Plan) -> list[Thing]:
    """What the log has when the row is done."""
    if row.kind == "mini":
        common = {"model": "mini", "size": mini.SIZE, "steps": mini.steps(plan)}
        modes = ({**common, "cache": mode} for mode in ("first time", "next time"))
        return [(peer, "command", mode) for mode in modes for peer in row.installed()]
    case = shown(plan.case(**row.changes)) | row.labels
    if row.kind == "cold":
        return [
            (peer, "first picture", {**case, "cache": mode})
            for peer in row.installed()
            for mode in cold.modes(peer)
        ]
    metric = {"step": "step", "kinds": "kind norm", "memory": "host memory", "guide": "warm"}
    if row.kind == "scale":
        metric, case = {"scale": scale.method_of(row.axis)}, {**case, "axis": row.axis}
    more = {
        peer: {"xla": guide.uses_xla(peer, None)} if row.kind == "guide" else {}
        for peer in row.installed()
    }
    return [(peer, metric[row.kind], {**case, **more[peer]}) for peer in row.installed()]


# How each kind is measured


def do_step(row: Row, plan: Plan, log: Log, deadline: Deadline) -> None:
    case = plan.case(**row.changes)
    rates = next((r["matmul"] for r in log.records if r.get("matmul")), None)
    rates = rates or step.matmul_rates(case["dtype"], step.matmul_size(plan.tiny, False))
    step.measure(
        case, row.installed(), plan.repeats, log, rates, 1, deadline, warmup=1, labels=row.labels
    )


def do_kinds(row: Row, plan: Plan, log: Log, deadline: Deadline) -> None:
    for peer in row.installed():
        step.by_kind(peer, plan.case(**row.changes), log)


def do_cold(row: Row, plan: Plan, log: Log, deadline: Deadline) -> None:
    cold.measure(plan.case(**row.changes), row.installed(), plan.repeats, log, deadline)


def do_memory(row: Row, plan: Plan, log: Log, deadline: Deadline) -> None:
    memory.measure(plan.case(**row.changes), row.installed(), log)


def do_scale(row: Row, plan: Plan, log: Log, deadline: Deadline) -> None:
    case = plan.case(**row.changes)
    scale.measure(row.axis, case, row.installed(), plan.repeats, log, deadline)


def do_mini(row: Row, plan: Plan, log: Log, deadline: Deadline) -> None:
    backends = [peer.split()[1] for peer in row.installed()]
    mini.measure(mini.steps(plan), backends, plan.repeats, log)


def do_guide(row: Row, plan: Plan, log: Log, deadline: Deadline) -> None:
    case = plan.case(**row.changes)
    guide.measure(case, row.installed(), plan.repeats, log, deadline, True, row.labels)


DO: dict[str, Callable[[Row, Plan, Log, Deadline], None]] = {
    "step": do_step,
    "kinds": do_kinds,
    "cold": do_cold,
    "memory": do_memory,
    "scale": do_scale,
    "mini": do_mini,
    "guide": do_guide,
}
