"""Tables by the workers of a cluster, of which some are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from fake_rows import batch_of, painted, write_lines
from pyarrow import parquet

from sfumato.scale import cluster as of_ray
from sfumato.scale.batch import run

# Ray Data warns of its own settings.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")

ROWS = [{"prompt": f"{i}, slowly", "width": 16 + 8 * (i % 2), "height": 16} for i in range(24)]
ROWS[5] = {"prompt": "it will fail"}

DRIVER = """
import sys
from functools import partial
from pathlib import Path
from fake_rows import batch_of
from sfumato.scale.batch import run
from sfumato.scale.cluster import connect, paint

connect(sys.argv[1])
batch = batch_of(Path(sys.argv[2]), Path(sys.argv[2]) / "t.jsonl", size=2)
for outcome in run(batch, partial(paint, batch, 1)):
    print(outcome.row, flush=True)
"""


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 300
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def pictures(folder: Path) -> list[Path]:
    return [*(folder / "out").rglob("*.png")]


def check_complete(folder: Path) -> None:
    """Each row is in the results once."""
    entries = parquet.read_table(folder / "out" / "manifest.parquet").to_pylist()
    assert [entry["row"] for entry in entries] == [i for i in range(1, 25) if i != 6]
    assert {folder / "out" / entry["path"] for entry in entries} == {*pictures(folder)}
    (line,) = (folder / "out" / "bad.jsonl").read_text().splitlines()
    assert '"row": 6' in line
    assert "a number overflowed" in line


def test_a_worker_that_is_killed_leaves_no_gap(cluster: str, tmp_path: Path):
    rows = [{**row, "prompt": f"{row['prompt']}, together"} for row in ROWS]
    batch = batch_of(tmp_path, write_lines(tmp_path / "t.jsonl", rows), size=2)

    def workers() -> list[int]:
        return [int(path.name) for path in (tmp_path / "notes").iterdir()]

    def kill_one() -> None:
        wait_for(lambda: len(workers()) == 2 and len(pictures(tmp_path)) > 1)
        os.kill(workers()[0], signal.SIGKILL)

    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill_one)
        for _ in run(batch, partial(of_ray.paint, batch, 2)):
            pass
        killed.result()
    check_complete(tmp_path)
    groups = painted(tmp_path)
    assert max(map(len, groups)) == 2
    assert all(
        int(a.split(",")[0]) % 2 == int(b.split(",")[0]) % 2
        for a, b in (g for g in groups if len(g) == 2)
    )


def test_a_driver_that_is_killed_goes_on(cluster: str, tmp_path: Path):
    write_lines(tmp_path / "t.jsonl", ROWS)
    command = [sys.executable, "-c", DRIVER, cluster, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        driver.stdout.readline()
        driver.kill()
    assert not (tmp_path / "out" / "manifest.parquet").exists()
    before = len(pictures(tmp_path))
    assert 0 < before < 23
    batch = batch_of(tmp_path, tmp_path / "t.jsonl", size=2)
    outcomes = [*run(batch, partial(of_ray.paint, batch, 1))]
    assert sorted(outcome.row for outcome in outcomes) == [*range(1, 25)]
    check_complete(tmp_path)
