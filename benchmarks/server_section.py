"""The section of the page about servers under load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.cells import Record, failures, measured, same, table, time_of
from benchmarks.suites import server


def server_section(records: Sequence[Record], images: Path) -> str:
    rows = []
    for r in measured(records, server.RATE):
        latencies = [
            time_of(found)
            for percent in server.PERCENTS
            for found in measured(records, f"latency, {percent} %")
            if same(found, r)
        ]
        batch = r["case"]["batch"]
        together = f"up to {batch}" if batch > 1 else "no"
        name = [r["peer"], together, str(r["case"]["clients"]), time_of(r)]
        rows.append([*name, *latencies, str(r["answers"])])
    head = ["server", "batches", "clients", "pictures a minute", "latency, 50 %, s", "99 %, s", "n"]
    sizes = {r["case"]["size"] for r in records}
    pixels = " and ".join(f"{size}x{size}" for size in sorted(sizes))
    text = (
        "Each client asks for the next picture as soon as it has one, over HTTP; `mini-turbo`, "
        f"{pixels} pixels, four steps, the same weights. All servers run at the same time, with "
        "all cores each, and are asked one after the other. n: answers in all rounds."
    )
    return f"### Servers\n\n{text}\n\n{table(head, rows)}{failures(records)}"
