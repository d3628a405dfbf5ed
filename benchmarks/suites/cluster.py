"""Tables of requests in this process, and by one and two workers of a Ray of this machine.

Two tables of different length tell the time of a row from that of the start. Workers of a CPU share
its cores, so two of them say what Ray costs and not what a second device would bring. Flat pictures
cost next to nothing: their rows are the overhead.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records import Log
from benchmarks.suites import Plan
from sfumato.checkpoints import open_model as open_checkpoint
from sfumato.opening import Opened, open_model
from sfumato.picture import Picture
from sfumato.request import Request
from sfumato.scale import cluster
from sfumato.scale.batch import Batch, here
from sfumato.scale.batch import run as paint_table
from sfumato.scale.painting import Made

MODEL = "mini-turbo"
LENGTHS = {MODEL: (64, 320), "flat": (64, 2048)}
TINY = {MODEL: (8, 16), "flat": (8, 16)}


@dataclass
class Flat:
    """A model that paints grey without a network."""

    model: Any

    def stream(self, requests: Sequence[Request]) -> Iterator[Picture]:
        for request in requests:
            size = (request.height or 8, request.width or 8, 3)
            yield Picture(np.full(size, 128, "uint8"), request)


def opened(painter: str) -> Opened:
    if painter == MODEL:
        return Opened(open_model)
    flat: Any = Flat(open_checkpoint(MODEL))
    return Opened(lambda *names: flat)


def run(plan: Plan, log: Log) -> None:
    cluster.connect(cluster.LOCAL, 2)  # before JAX begins, which Ray's fork would disturb
    for painter, lengths in (TINY if plan.tiny else LENGTHS).items():
        for workers in (0, 1, 2):
            seconds = [measured(painter, workers, rows) for rows in lengths]
            (short, long), (first, last) = lengths, seconds
            case = {"painter": painter, "size": 64, "workers": workers, "rows": [*lengths]}
            if last <= first:
                log.failure("sfumato", "rows", case, f"noise: {first:.1f} s, then {last:.1f} s")
                continue
            row = (last - first) / (long - short)
            log("sfumato", "rows", "1/min", [60 / row], case, seconds=seconds)
            log("sfumato", "start", "s", [first - short * row], case)


def measured(painter: str, workers: int, rows: int) -> float:
    """Seconds for a table; the connection to Ray is there before."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        table.write_text("prompt\n" + "a red apple\n" * rows)
        given = {"model": MODEL, "width": 64, "height": 64}
        batch = Batch(table, Path(folder) / "out", given, opened=partial(opened, painter))
        paint: Any = partial(here, batch.painter())
        if workers:
            paint = partial(cluster.paint, batch, workers)
        begin = time.perf_counter()
        outcomes = [*paint_table(batch, paint)]
        seconds = time.perf_counter() - begin
        assert len(outcomes) == rows
        assert all(isinstance(outcome, Made) for outcome in outcomes)
        return seconds
