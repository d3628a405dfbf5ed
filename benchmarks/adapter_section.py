"""The sections of the page on LoRAs and on tables of requests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.cells import Record, case_cells, failures, measured, same, table, time_of


def lora_section(records: Sequence[Record], images: Path) -> str:
    rows = [
        [r["peer"], *case_cells(r), r["metric"], time_of(r), str(len(r["values"]))]
        for r in records
        if "error" not in r
    ]
    text = (
        "A LoRA of rank 16 for all attention and feed-forward of the U-Net, in half precision. "
        "Pictures have one step. From the top to the bottom each row is what it says because of "
        "those before it, in a process that finds no compiled programs."
    )
    head = ["peer", "model", "size", "batch", "dtype", "what", "s", "n"]
    return f"### LoRAs\n\n{text}\n\n{table(head, rows)}{failures(records)}"


def cluster_section(records: Sequence[Record], images: Path) -> str:
    rows = []
    for r in measured(records, "rows"):
        starts = [time_of(found) for found in measured(records, "start") if same(found, r)]
        workers = r["case"]["workers"]
        where = f"{workers} of Ray" if workers else "this process"
        row = f"{60_000 / r['median']:.1f}"
        rows.append([r["case"]["painter"], where, f"{r['median']:.0f}", row, *starts])
    head = ["pictures", "workers", "rows a minute", "a row, ms", "start, s"]
    text = (
        "`sfumato batch` with a table of one prompt. All workers share the cores of this machine. "
        '"flat" pictures are grey and cost next to nothing: what their rows take is the overhead.'
    )
    return f"### Tables of requests\n\n{text}\n\n{table(head, rows)}{failures(records)}"
