"""The results of a table: a manifest with each picture once, and a file of the rows that failed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sfumato._files import replacing
from sfumato.scale.painting import FOLDER, TRYING, Bad, Made, Trying

BAD = "bad.jsonl"


class Results:
    """What came of each row of a table.

    Args:
        out: the folder; what a process left half written when it was killed goes.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.made: dict[tuple[int, int], Made] = {}
        self.bad: dict[tuple[int, int], Bad] = {}
        out.mkdir(parents=True, exist_ok=True)
        for part in (out / FOLDER).glob("*/.*.part"):
            part.unlink(missing_ok=True)

    def add(self, outcome: Made | Bad) -> bool:
        """Note an outcome; whether it is the first of its picture."""
        key = (outcome.row, outcome.place or 0)
        if key in self.made or key in self.bad:
            return False
        if isinstance(outcome, Made):
            self.made[key] = outcome
        else:
            self.bad[key] = outcome
        return True

    def write(self) -> Path:
        """Write both files, in the order of the table; returns the manifest's path.

        The manifest is Parquet, or JSON lines where PyArrow is not installed.
        """
        made = [self.made[key].to_json() for key in sorted(self.made)]
        for entry in made:
            del entry["is_new"]
        bad = [self.bad[key].to_json() for key in sorted(self.bad)]
        if bad:
            _write_lines(self.out / BAD, bad)
        else:
            (self.out / BAD).unlink(missing_ok=True)
        Trying(self.out / TRYING).forget()
        try:
            return _write_parquet(self.out / "manifest.parquet", made)
        except ImportError:
            return _write_lines(self.out / "manifest.jsonl", made)


def _write_lines(path: Path, entries: Sequence[dict[str, Any]]) -> Path:
    with replacing(path) as file:
        for entry in entries:
            file.write(json.dumps(entry, default=str).encode() + b"\n")
    return path


def _write_parquet(path: Path, entries: Sequence[dict[str, Any]]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    whole, text = pa.int64(), pa.string()
    kinds: dict[str, Any] = {
        "flags": pa.list_(text),
        "row": whole,
        "place": whole,
        "seed": pa.uint64(),
        "width": whole,
        "height": whole,
    }
    names = [name for name in Made.__dataclass_fields__ if name != "is_new"]
    schema = pa.schema([(name, kinds.get(name, text)) for name in names])
    # Text of a table may hold lone surrogates, which Parquet does not.
    columns = {n: [_sound(entry[n]) for entry in entries] for n in names}
    with replacing(path) as file:
        parquet.write_table(pa.table(columns, schema=schema), file)
    return path


def _sound(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return [_sound(each) for each in value] if isinstance(value, list | tuple) else value
