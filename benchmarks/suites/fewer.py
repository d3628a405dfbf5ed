"""What the options that save work save: seconds of each kind of evaluation of the network.

From them the report adds up the time of whole pictures. What the options cost in quality is
measured on the bundled model, by ``recipes.mini.fewer``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.peers import choose
from benchmarks.records import Log
from benchmarks.suites import Plan, shown
from benchmarks.workers import PeerError, working

WAYS: dict[str, dict[str, Any]] = {
    "guided": {},
    "unguided": {"guided": False},
    "shallow": {"shallow": True},
    "shallow unguided": {"guided": False, "shallow": True},
    "merged": {"token_merging": 0.5},
    "merged more": {"token_merging": 0.75},
}
PICTURES: dict[str, dict[str, Any]] = {
    "full": {},
    "guidance_interval 0.2:0.8": {"interval": (0.2, 0.8)},
    "guidance_interval 0.5:1": {"interval": (0.5, 1.0)},
    "feature_reuse 2": {"reuse": 2},
    "feature_reuse 3": {"reuse": 3},
    "feature_reuse 5": {"reuse": 5},
    "feature_reuse 2, guidance_interval 0.5:1": {"reuse": 2, "interval": (0.5, 1.0)},
    "feature_reuse 3, guidance_interval 0.5:1": {"reuse": 3, "interval": (0.5, 1.0)},
}


def run(plan: Plan, log: Log) -> None:
    case = plan.case()
    for peer in choose(plan.peers, case["model"], "fewer"):
        if not peer.startswith("sfumato"):
            continue
        with working(peer) as worker:
            try:
                worker.ask("load", **case)
                values: dict[str, list[float]] = {name: [] for name in WAYS}
                for _ in range(plan.repeats):  # in turns
                    for name, way in WAYS.items():
                        values[name].append(worker.ask("evaluation", **way))
                for name, seconds in values.items():
                    log(peer, f"evaluation {name}", "s", seconds, shown(case))
            except PeerError as error:
                log.failure(peer, "evaluations", shown(case), str(error))


def seconds_of_pictures(evaluation: Mapping[str, float], steps: int) -> dict[str, float]:
    """Seconds in the network for a picture by DPM++ 2M, from those of each kind of evaluation."""
    from sfumato.diffusion import make_plan, training_sigmas
    from sfumato.diffusion.shortcuts import evaluations

    made = make_plan(training_sigmas(), steps)
    found = {}
    for name, options in PICTURES.items():
        ways = evaluations(made, True, **options)
        kinds = (
            " ".join(["shallow"] * w.shallow + ["unguided"] * (not w.guided)) or "guided"
            for w in ways
        )
        found[name] = sum(evaluation[kind] for kind in kinds)
    return found | {
        "token_merging 0.5": steps * evaluation["merged"],
        "token_merging 0.75": steps * evaluation["merged more"],
    }
