"""The sections of the page that are about one step: its time, where it goes, other forms of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks import plots
from benchmarks.cells import Record, case_cells, failures, measured, table, time_of

KINDS = ("convolution", "linear", "attention", "norm", "other")


def step_section(records: Sequence[Record], images: Path) -> str:
    steps = measured(records, "step")
    if not steps:
        return failures(records)
    rows = [
        [
            r["peer"],
            *case_cells(r),
            time_of(r),
            str(len(r["values"])),
            f"{r['flops'] / 1e9:.0f}",
            f"{100 * r['fraction']:.0f} %" if r.get("fraction") else "",
        ]
        for r in without_repetition(steps)
    ]
    head = ["peer", "model", "size", "batch", "dtype", "s per step", "n", "GFLOP/s", "of matmul"]
    text = "### One guided step\n\n" + in_turns(steps) + table(head, rows)
    text += (
        "\nA step is the network on prompt and negative prompt, guidance and the sampler's update. "
        "GFLOP/s counts the same operations "
        "for everyone: direct convolutions, linear layers and attention. "
        '"of matmul" is that rate by the best rate of a large matrix product of any framework on '
        "this machine. It may be above 100 %, because Winograd's convolutions need fewer "
        "operations than are counted"
    )
    rates = next((r["matmul"] for r in measured(records, "step") if r.get("matmul")), {})
    rates = ", ".join(f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in rates.items())
    text += f" ({rates}).\n" if rates else ".\n"
    return text + kinds(records, images) + failures(records)


def in_turns(steps: Sequence[Record]) -> str:
    """Of every pair that took turns, both times and how many times as long the other one took."""
    rows = []
    for r in steps:
        first, _, second = r["case"].get("turns", "").partition(", ")
        beside = [b for b in steps if b["case"] == r["case"] and b["peer"] == first]
        if r["peer"] == second and beside:
            times = f"{r['median'] / beside[-1]['median']:.2f}"
            pair = second, time_of(r), first, time_of(beside[-1]), times
            rows.append([r["case"]["model"], *pair])
    if not rows:
        return ""
    head = ["model", "peer", "s per step", "against", "s per step", "times as long"]
    return "Pairs that alternated, to be compared row by row:\n\n" + table(head, rows) + "\n"


def without_repetition(steps: Sequence[Record]) -> list[Record]:
    """The last of several steps that differ only in who they took turns with."""
    found: dict[str, Record] = {}
    for r in steps:
        case = {name: value for name, value in r["case"].items() if name != "turns"}
        found[repr((r["peer"], sorted(case.items())))] = r
    return list(found.values())


def kinds(records: Sequence[Record], images: Path) -> str:
    """The table of where the time goes; "other": what the step takes beyond its layers' sum."""
    found: dict[str, dict[str, float]] = {}
    for step in without_repetition(measured(records, "step")):
        case = {name: value for name, value in step["case"].items() if name != "turns"}
        mine = [r for r in records if r["peer"] == step["peer"] and r["case"] == case]
        parts = {n: r["median"] for n in KINDS[:-1] for r in measured(mine, f"kind {n}")}
        if parts and step["peer"] not in found:  # of the first case
            found[step["peer"]] = parts | {"other": step["median"] - sum(parts.values())}
    if not found:
        return ""
    rows = [
        [peer, *(f"{p.get(n, 0):.3g} ({100 * p.get(n, 0) / sum(p.values()):.0f} %)" for n in KINDS)]
        for peer, p in found.items()
    ]
    text = (
        "\nWhere the time goes: seconds of every layer timed by itself, and what the step takes "
        "beyond their sum (negative where the compiler gains by fusing layers):\n\n"
        + table(["peer", *KINDS], rows)
    )
    if plots.kinds(found, images / "kinds.png"):
        text += "\n![Where the time of a step goes](images/kinds.png)\n"
    return text


def is_step(record: Record) -> bool:
    return record["metric"] == "step" or record["metric"].startswith("kind")


def compared(records: Sequence[Record], label: str, title: str) -> str:
    """The step under what ``label`` names: flags, or another form of the loop."""
    chosen = [r for r in records if r["metric"] == "step" and label in r["case"]]
    if not chosen:
        return ""
    rows = [
        [r["case"][label], r["peer"], *case_cells(r), time_of(r), str(len(r["values"]))]
        for r in chosen
        if "error" not in r
    ]
    head = ["what", "peer", "model", "size", "batch", "dtype", "s per step", "n"]
    text = f"\n### {title}\n\n" + table(head, rows)
    flags = {r["case"][label]: r["xla_flags"] for r in chosen if r.get("xla_flags")}
    if flags:
        text += "\n" + "".join(f"- {name}: `{flag}`\n" for name, flag in flags.items())
    return text + failures(chosen)
