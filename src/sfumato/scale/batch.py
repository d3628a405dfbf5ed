"""A table of requests to pictures: in this process, or by the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfumato.opening import Opened, open_model
from sfumato.scale.painting import Bad, Made, Painter
from sfumato.scale.results import Results
from sfumato.scale.tables import Row, Unread, read_table, windows

WINDOW = 4
"""Batches that a worker is given at once; those that it has not painted are lost with it."""


@dataclass(frozen=True)
class Batch:
    """A table to paint.

    Attributes:
        table: a file of Parquet, JSON lines or CSV.
        out: the folder of the results.
        given: the fields that rows leave open.
        size: pictures that may be painted together.
        opened: makes what opens models, in the process that paints.
    """

    table: Path
    out: Path
    given: Mapping[str, Any] = field(default_factory=dict)
    size: int = 4
    opened: Callable[[], Opened] = lambda: Opened(open_model)

    def painter(self, check: Callable[[], Any] = lambda: None) -> Painter:
        return Painter(self.out, self.given, self.size, self.opened(), check)

    def read(self) -> tuple[list[Bad], list[list[Row]]]:
        """The rows that cannot be read, and parts of the others."""
        found = read_table(self.table)
        unread = [row for row in found if isinstance(row, Unread)]
        rows = [row for row in found if isinstance(row, Row)]
        bad = [Bad(row.number, None, row.reason, row.values) for row in unread]
        return bad, [*windows(rows, WINDOW * self.size)]


Outcomes = Iterable[Made | Bad]


def run(
    batch: Batch,
    paint: Callable[[Sequence[Sequence[Row]]], Outcomes],
    expect: Callable[[int], Any] = lambda rows: None,
) -> Iterator[Made | Bad]:
    """Paint a table; yields what came of each picture, and writes all of it at the end.

    Args:
        batch: the table.
        paint: paints parts of the table: `here`, or that of a cluster.
        expect: is called with the number of rows.
    """
    results = Results(batch.out)
    bad, parts = batch.read()
    expect(len(bad) + sum(map(len, parts)))
    for outcomes in (bad, paint(parts)):
        for outcome in outcomes:
            if results.add(outcome):
                yield outcome
    results.write()


def here(painter: Painter, parts: Sequence[Sequence[Row]]) -> Iterator[Made | Bad]:
    """Paint in this process."""
    for part in parts:
        yield from painter.paint(part)
