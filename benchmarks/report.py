"""``python -m benchmarks.report FILES``: docs/benchmarks.md from the lines of JSON."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from benchmarks import plots
from benchmarks.adapter_section import cluster_section, lora_section
from benchmarks.cells import (
    Record,
    case_cells,
    describe,
    failures,
    measured,
    same,
    table,
    time_of,
    unique,
)
from benchmarks.peers import ROWS
from benchmarks.records import NO_TIME, read
from benchmarks.server_section import server_section
from benchmarks.step_sections import compared, is_step, step_section
from benchmarks.suites.cold import STAGES
from benchmarks.suites.fewer import WAYS, seconds_of_pictures
from benchmarks.suites.scale import exponents

ROOT = Path(__file__).parent.parent
BUSY = (
    ", **more than it has cores**: other programs were running, too. So the times are longer than "
    "on a machine of one's own, and only differences well beyond the spread say anything"
)
HEAD = Path(__file__).with_name("head.md")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--tiny", action="store_true", help="take trials of the harness too")
    options = parser.parse_args(arguments)
    records = latest(r for r in read(options.files) if options.tiny or not r["tiny"])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page(records, options.out.parent / "images"), "utf-8")


def latest(records: Any) -> list[Record]:
    """Of measurements of the same thing on the same machine the last one.

    The measurements that a run had no time for are those of the last run alone.
    """
    found: dict[tuple[str, ...], Record] = {}
    for record in records:
        names = ("suite", "peer", "metric", "case", "machine")
        key = tuple(repr(record.get(name)) for name in names)
        found.pop(key, None)
        found[key] = record
    last = max((r["date"] for r in found.values() if r["suite"] == "gpu"), default=None)
    return [r for r in found.values() if r.get("error") != NO_TIME or r["date"] == last]


def page(records: Sequence[Record], images: Path) -> str:
    """The whole page; plots go to ``images``."""
    text = [HEAD.read_text("utf-8")]
    for machine in unique(repr(r["machine"]) for r in records):
        chosen = [r for r in records if repr(r["machine"]) == machine]
        text.append(heading(chosen))
        for name, section in SECTIONS.items():
            of_suite = [r for r in chosen if r["suite"] == name]
            if of_suite:
                text.append(section(of_suite, images))
                text.append(when(of_suite))
        text.append(missing(chosen))
    if not any(r["machine"]["accelerator"] for r in records):
        text.append("## Accelerators\n\nNothing has been measured on an accelerator.\n")
    return wrapped("\n".join(text).rstrip("\n")) + "\n"


def wrapped(text: str) -> str:
    """Wrap the paragraphs of a page; tables, headings, lists and pictures keep their lines."""
    paragraphs = text.split("\n\n")
    kept = ("|", "#", "!", "-", "\n")
    return "\n\n".join(
        p if p.startswith(kept) else fill(p, 100, break_long_words=False, break_on_hyphens=False)
        for p in paragraphs
    )


def heading(records: Sequence[Record]) -> str:
    machine = records[0]["machine"]
    device = machine["accelerator"] or "no accelerator"
    versions = {k: v for r in records for k, v in r["versions"].items()}
    loads = [r["load_average"] for r in records if "load_average" in r] or [0.0]
    packages = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return (
        f"## {machine['accelerator'] or machine['cpu']}\n\n"
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {device}; "
        f"{machine['system']}; {packages}. "
        '("+" after a commit: with changes that were not committed.) Load average when a record '
        f"was written: {min(loads):.1f} to {max(loads):.1f}"
        + (BUSY if not machine["accelerator"] and max(loads) > machine["cores"] + 0.7 else "")
        + ".\n"
    )


def when(records: Sequence[Record]) -> str:
    """The days of a section, and if there are several, who was measured on each."""
    days: dict[str, list[str]] = {}
    for r in records:
        days.setdefault(f"{r['date'][:10]} at commit {r['commit']}", []).append(r["peer"])
    peers = {day: f" ({', '.join(unique(found))})" for day, found in days.items()}
    words = (day + (peers[day] if len(days) > 1 else "") for day in days)
    return "Measured " + ", ".join(words) + ".\n"


def missing(records: Sequence[Record]) -> str:
    """Suites and peers of which there is nothing on a machine."""
    device = "accelerator" if records[0]["machine"]["accelerator"] else "cpu"
    suites = {r["suite"] for r in records}
    covered = suites | ({"step", "guide", "cold", "memory"} if "gpu" in suites else set())
    peers = {r["peer"] for r in records if "error" not in r}
    lines = [f"- the suite `{name}`" for name in SECTIONS if name not in covered | {"gpu"}]
    lines += [f"- {p.name}" for p in ROWS if p.name not in peers and device in p.devices]
    return "### Not measured on this machine\n\n" + "\n".join(lines) + "\n" if lines else ""


def cold_section(records: Sequence[Record], images: Path) -> str:
    firsts = measured(records, "first picture")
    seconds = {(r["peer"], r["case"]["cache"]): r for r in measured(records, "second picture")}
    rows = []
    for r in firsts:
        second = seconds.get((r["peer"], r["case"]["cache"]))
        stages = [f"{r['stages'][stage]:.1f}" for stage in STAGES]
        name = [r["peer"], r["case"]["cache"], time_of(r), str(len(r["values"]))]
        rows.append([*name, *stages, time_of(second) if second else ""])
    case = {k: v for k, v in firsts[0]["case"].items() if k != "cache"} if firsts else {}
    text = f"### From the start of the process to the first picture\n\n{describe(case)}\n\n"
    head = ["peer", "cache", "first picture, s", "n", *STAGES, "second picture, s"]
    text += table(head, rows)
    text += (
        '\nStages are in seconds, means of the rounds. "load" is the way from the file (in the '
        'page cache) to the device, and "compile" the time of the first call of each program '
        'beyond a later one. "first time" begins with an empty cache of compiled programs, and '
        '"next time" is a later process.\n'
    )
    if firsts and plots.cold(firsts, images / "cold.png"):
        text += "\n![Stages of the first picture](images/cold.png)\n"
    return text + failures(records)


def mini_section(records: Sequence[Record], images: Path) -> str:
    rows = [
        [r["peer"], r["case"]["cache"], str(r["case"]["steps"]), time_of(r), str(len(r["values"]))]
        for r in measured(records, "command")
    ]
    return "### The bundled model from the command line\n\n" + (
        '`sfumato generate "a red apple"`, from its start to its end, with the picture on the '
        "disk.\n\n" + table(["peer", "cache", "steps", "s", "n"], rows) + failures(records)
    )


def fewer_section(records: Sequence[Record], images: Path) -> str:
    text = "### Fewer evaluations\n\nSeconds of one evaluation of each kind:\n\n"
    kinds = [r for r in records if r["metric"].startswith("evaluation ") and "error" not in r]
    rows = [
        [r["peer"], *case_cells(r), r["metric"].removeprefix("evaluation "), time_of(r)]
        for r in kinds
    ]
    text += table(["peer", "model", "size", "batch", "dtype", "evaluation", "s"], rows)
    rows = []
    for peer in unique(r["peer"] for r in kinds):
        mine = [r for r in kinds if r["peer"] == peer]
        seconds = {r["metric"].removeprefix("evaluation "): r["median"] for r in mine}
        if len(seconds) < len(WAYS):  # one failed
            continue
        pictures = seconds_of_pictures(seconds, mine[0]["case"]["steps"])
        rows += [
            [peer, name, f"{value:.1f}", f"{pictures['full'] / value:.2f}"]
            for name, value in pictures.items()
        ]
    steps = kinds[0]["case"]["steps"] if kinds else ""
    text += f"\nAdded up for a picture of {steps} steps, without the text and the decoder:\n\n"
    head = ["peer", "options", "s", "times faster"]
    return text + table(head, rows) + failures(records)


def int8_section(records: Sequence[Record], images: Path) -> str:
    rows = [
        [
            r["metric"],
            *(r["case"][name] for name in ("model", "dtype")),
            *(f"{value:.2f} {r['unit']}" for value in (r["median"], min(r["values"]))),
            str(len(r["values"])),
        ]
        for r in records
        if "error" not in r
    ]
    head = ["what", "model", "dtype", "median", "least", "n"]
    return "### Int8 on OpenVINO\n\n" + table(head, rows) + failures(records)


def guide_section(records: Sequence[Record], images: Path) -> str:
    rows = []
    for r in {repr((r["peer"], r["case"])): r for r in records if "error" not in r}.values():
        cold, warm = ([c for c in measured(records, m) if same(c, r)] for m in ("cold", "warm"))
        xla = {True: "yes", False: "no"}.get(r["case"].get("xla"), "")
        first = f"{cold[-1]['median']:.2f}" if cold else ""
        later = (time_of(warm[-1]), str(len(warm[-1]["values"]))) if warm else ("", "")
        rows.append([r["peer"], *case_cells(r), str(r["case"]["steps"]), xla, first, *later])
    head = ["peer", "model", "size", "batch", "dtype", "steps", "XLA", "first call, s", "s", "n"]
    return "### Whole calls\n\n" + table(head, rows) + failures(records)


def memory_section(records: Sequence[Record], images: Path) -> str:
    chosen = [r for r in records if r["metric"].endswith(" memory") and "error" not in r]
    rows = [
        [r["peer"], *case_cells(r), r["metric"].removesuffix(" memory"), f"{r['median']:.2f}"]
        for r in chosen
    ]
    head = ["peer", "model", "size", "batch", "dtype", "where", "peak, GiB"]
    text = '"spared": as OpenVINO runs where little memory is left.'
    return f"### Memory\n\n{table(head, rows)}\n{text}\n{failures(records)}"


def scale_section(records: Sequence[Record], images: Path) -> str:
    rows = [
        [peer, model, axis, f"{power:.2f}", str(count)]
        for peer, model, axis, power, count in exponents(records)
    ]
    if not rows:  # of one size, say: there is no growth to speak of
        return failures(records)
    text = "### Scaling\n\nTime grows with the power of batch, side in pixels or steps:\n\n"
    text += table(["peer", "model", "of", "exponent", "values"], rows)
    if plots.scale([r for r in records if "error" not in r], images / "scale.png"):
        text += "\n![Time against batch, size and steps](images/scale.png)\n"
    return text + failures(records)


def gpu_section(records: Sequence[Record], images: Path) -> str:
    ceilings = [
        [r["peer"], r["metric"], r["case"].get("dtype", ""), f"{r['median']:.1f} {r['unit']}"]
        for metric in ("matmul", "copy")
        for r in measured(records, metric)
    ]
    text = "### Ceilings\n\n" + table(["peer", "what", "dtype", "rate"], ceilings)
    labels = ("flags", "variant", "beside")
    plain = [r for r in records if not any(label in r["case"] for label in labels)]
    if steps := step_section([r for r in plain if is_step(r)], images):
        text += "\n" + steps
    text += compared(records, "variant", "Other forms of the step")
    text += compared(records, "flags", "Flags of XLA")
    text += compared(records, "beside", "Against compiled diffusers")
    for metrics, section in (
        (("warm", "cold"), guide_section),
        (("first picture", "second picture"), cold_section),
        (("host memory", "device memory"), memory_section),
    ):
        chosen = [r for r in plain if r["metric"] in metrics]
        text += "\n" + section(chosen, images) if chosen else ""
    others = {"step", "kinds", "warm", "cold", "first picture", "host memory"}
    return text + failures([r for r in records if r["metric"] not in others])


SECTIONS: dict[str, Callable[[Sequence[Record], Path], str]] = {
    "mini": mini_section,
    "int8": int8_section,
    "cold": cold_section,
    "step": step_section,
    "guide": guide_section,
    "memory": memory_section,
    "fewer": fewer_section,
    "lora": lora_section,
    "server": server_section,
    "cluster": cluster_section,
    "scale": scale_section,
    "gpu": gpu_section,
}


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "agg")
    main()
