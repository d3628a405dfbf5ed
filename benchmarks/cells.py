"""Words, cells and tables for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
Rows = Sequence[Sequence[str]]


def measured(records: Sequence[Record], metric: str) -> list[Record]:
    return [r for r in records if r["metric"] == metric and "error" not in r]


def failures(records: Sequence[Record]) -> str:
    """What could not be measured, and why."""
    lines = [
        f"- {r['peer']}, {r['metric']} ({describe(r['case'])}): {r['error']}"
        for r in records
        if "error" in r
    ]
    return "\nNot measured:\n\n" + "\n".join(lines) + "\n" if lines else ""


def case_cells(record: Record) -> list[str]:
    return [str(record["case"].get(key, "")) for key in ("model", "size", "batch", "dtype")]


def describe(case: Mapping[str, Any]) -> str:
    words = {"size": "{0}x{0}", "batch": "batch {0}", "steps": "{0} steps"}
    kept = ("model", "size", "batch", "steps", "dtype", "cache", "flags", "variant", "beside")
    return ", ".join(words.get(key, "{0}").format(case[key]) for key in kept if key in case)


def time_of(record: Record) -> str:
    median, spread = record["median"], record["spread"]
    digits = 1 if median >= 20 else 2 if median >= 1 else 4
    spread = f" ± {spread:.{digits}f}" if len(record["values"]) > 1 else ""
    return f"{median:.{digits}f}{spread}"


def table(head: Sequence[str], rows: Rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def unique(values: Any) -> list[Any]:
    return list(dict.fromkeys(values))


def same(one: Record, other: Record) -> bool:
    """Whether two records are of the same peer and case."""
    return one["peer"] == other["peer"] and one["case"] == other["case"]
