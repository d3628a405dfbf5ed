"""Plots for the page: where a plot says it better than a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.suites.cold import STAGES

Record = Mapping[str, Any]

COLORS = (
    "#bbbbbb", "#88ccee", "#4477aa", "#cc6677", "#ddcc77", "#228833", "#aa4499", "#eeeeee"
)  # fmt: skip


def cold(records: Sequence[Record], path: Path) -> bool:
    """Bars of the stages of the first picture; False where matplotlib is missing."""
    if not records or find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.5 * len(records) + 1.6), layout="constrained")
    axes = figure.subplots()
    names = [f"{r['peer']} ({r['case']['cache']})" for r in records]
    names = [name.replace(" (none)", "") for name in names]
    left = [0.0] * len(records)
    for stage, color in zip(STAGES, COLORS, strict=True):
        widths = [max(0.0, r["stages"][stage]) for r in records]
        axes.barh(names, widths, left=left, label=stage, color=color, edgecolor="white")
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("seconds from the start of the process to the first picture")
    figure.legend(ncols=len(STAGES), loc="outside lower center", frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
    return True


def kinds(found: Mapping[str, Mapping[str, float]], path: Path) -> bool:
    """Bars of the seconds of a step by kind of layer; a negative rest is left out."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.5 * len(found) + 1.4), layout="constrained")
    axes = figure.subplots()
    left = [0.0] * len(found)
    for kind, color in zip(next(iter(found.values())), COLORS[1:], strict=False):
        widths = [max(0.0, parts.get(kind, 0.0)) for parts in found.values()]
        axes.barh(list(found), widths, left=left, label=kind, color=color, edgecolor="white")
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("seconds of a step")
    figure.legend(ncols=5, loc="outside lower center", frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
    return True


def scale(records: Sequence[Record], path: Path) -> bool:
    """Time against batch, size and steps, both logarithmic."""
    if not records or find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    seen = {r["case"]["axis"] for r in records}
    names = [axis for axis in ("batch", "size", "steps") if axis in seen]
    figure = Figure(figsize=(3.6 * len(names), 3.4), layout="constrained")
    for axis, axes in zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True):
        mine = [r for r in records if r["case"]["axis"] == axis]
        for peer in dict.fromkeys(r["peer"] for r in mine):
            points = sorted((r["case"][axis], r["median"]) for r in mine if r["peer"] == peer)
            axes.loglog(*zip(*points, strict=True), marker="o", label=peer)
        for line, values in ((axes.xaxis, {r["case"][axis] for r in mine}), (axes.yaxis, None)):
            if values:
                line.set_ticks(sorted(values))
            line.set_major_formatter("{x:g}")
            line.set_minor_formatter("" if values else "{x:g}")
        axes.set_xlabel({"size": "side in pixels"}.get(axis, axis))
        axes.set_ylabel("s per picture" if axis == "steps" else "s per step")
        axes.legend(frameon=False, fontsize=8)
    save(figure, path)
    return True


def save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
