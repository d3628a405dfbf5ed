"""Tables of requests: a row for each, whose columns are the fields of a request and an `id`.

A row that cannot be read is an `Unread` and keeps nobody else waiting.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfumato.request import Request
from sfumato.request.rows import fields_of, fields_of_texts, seeded

ENDINGS = (".parquet", ".jsonl", ".csv")
ID = "id"
EXTRA = "Parquet needs more packages: pip install 'sfumato[ray]'"

# Rows that differ in nothing else mostly go through one loop.
OWN = ("prompt", "negative_prompt", "seed", "variation_seed", "image", "mask", ID)


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        number: 1 for the first.
        id: of the column of that name; otherwise the number.
        values: what it says, by column.
        is_text: whether the values are texts, as in CSV.
    """

    number: int
    id: str
    values: Mapping[str, Any]
    is_text: bool = False

    def request(self, given: Mapping[str, Any]) -> Request:
        """The request of the row; its seed follows from its id unless it says one.

        Args:
            given: the fields that it leaves open.

        Raises:
            RequestError: it cannot be.
        """
        read = fields_of_texts if self.is_text else fields_of
        return Request(**{**given, **seeded(read(self.values), given, self.id)})

    @property
    def look(self) -> str:
        """Rows of one look are mostly painted together."""
        return repr(sorted((k, v) for k, v in self.values.items() if k not in OWN))


@dataclass(frozen=True)
class Unread:
    """A row that is none."""

    number: int
    values: Any
    reason: str


def read_table(path: Path) -> list[Row | Unread]:
    """The rows of a file of Parquet, of JSON lines, or of CSV.

    Raises:
        ValueError: the file is none of these, or two columns have one name.
        OSError: it cannot be read.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"The table must end in {', '.join(ENDINGS)}. Received: {path}")
    rows: list[Row | Unread] = []
    known: set[str] = set()
    is_text = path.suffix.lower() == ".csv"
    for number, values in enumerate(_READERS[path.suffix.lower()](path), 1):
        if not isinstance(values, dict):
            rows.append(Unread(number, values, "a row must be a JSON object"))
            continue
        plain = _without_gaps(values)
        row = Row(number, str(plain.pop(ID, number)), plain, is_text)
        if row.id in known:
            rows.append(Unread(number, values, f"`id` must be of one row. Received: {row.id}"))
        else:
            known.add(row.id)
            rows.append(row)
    return rows


def windows(rows: Sequence[Row], size: int) -> Iterator[list[Row]]:
    """The rows in parts of a size, those of one look together."""
    alike = sorted(rows, key=lambda row: row.look)
    for i in range(0, len(alike), size):
        yield alike[i : i + size]


def _parquet(path: Path) -> Iterator[Any]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError as error:
        raise ValueError(EXTRA) from error
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except ArrowInvalid as error:
        raise ValueError(f"The table must be Parquet. Received: {path} ({error})") from error


def _jsonl(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for line in file:
            if line.strip():
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError):
                    yield line.strip()


def _csv(path: Path) -> Iterator[Any]:
    csv.field_size_limit(2**31 - 1)  # of pictures as data URLs
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        names = next(reader, [])
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"A column must be there once. Received: {', '.join(repeated)}")
        try:
            for cells in reader:
                if not cells:
                    continue
                is_whole = len(cells) == len(names)
                yield dict(zip(names, cells, strict=True)) if is_whole else cells
        except csv.Error as error:
            raise ValueError(f"The table must be CSV. Received: {path} ({error})") from error


_READERS = {".parquet": _parquet, ".jsonl": _jsonl, ".csv": _csv}


def _without_gaps(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values without those that say nothing: null, an empty cell, pandas' NaN, keys of these."""
    kept = {name: value for name, value in values.items() if not _is_gap(value)}
    return {n: _without_gaps(v) if isinstance(v, dict) else v for n, v in kept.items()}


def _is_gap(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def file_safe(text: str, most: int = 64) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII).lstrip(".")[:most] or "_"
