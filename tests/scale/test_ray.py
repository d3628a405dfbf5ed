"""One small Ray: tables by its workers, and the server's replicas, of which some are killed.

All is in one file, so that one process starts it, and starts it once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from distant_painters import PACE, DistantPainter
from fake_rows import batch_of, painted, pixels_of, write_lines
from pyarrow import parquet

from sfumato.pictures import load
from sfumato.request import Request
from sfumato.scale import cluster as of_ray
from sfumato.scale.batch import run
from sfumato.scale.serve import painting_service
from sfumato.server.jobs import Job
from sfumato.server.service import Service
from sfumato.server.settings import read_settings

# Ray warns of its own settings.
OF_RAY = r"ray\.(data\.context|serve\..*)"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(f"ignore::DeprecationWarning:{OF_RAY}"),
    # JAX, if another test used it, warns of Ray's forks, which become other programs.
    pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning"),
]

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


# The server


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replicas") / "notes"


@pytest.fixture(scope="module")
def service(
    cluster: str, notes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    notes.touch()
    given = {"ray": cluster, "workers": 2, "batch": 2, "batch_wait": 0, "max_steps": 1000}
    given |= {"deadline": 9999}
    kept = tmp_path_factory.mktemp("kept")
    settings = read_settings(folder=kept, models=[f"fake={notes}"], **given)
    with painting_service(settings, DistantPainter) as made:
        made.start()
        yield made
        made.stop()


def ask(service: Service, prompt: str, **fields: int) -> Job:
    return service.submit(Request(**{"prompt": prompt, "seed": 1, "steps": 3} | fields))


def painters(job: Job) -> set[int]:
    return {int(flag) for picture in job.pictures for flag in picture["flags"]}


def steps_of(notes: Path, prompt: str) -> list[int]:
    """The processes that made the steps of a prompt."""
    lines = [line.split(" ", 1) for line in notes.read_text().splitlines()]
    return [int(process) for process, words in lines if words == prompt]


def test_replicas_paint_behind_the_same_jobs(service: Service):
    job = ask(service, "a red apple", count=2, seed=7)
    assert job.wait(300)
    assert job.state == "done"
    names = [event.name for event in job.since(0)]
    assert names == ["queued", "started", "loading", "step", "picture", "picture", "done"]
    for i, picture in enumerate(job.pictures):
        path = service.history.picture(picture["id"])
        assert path is not None
        assert np.array_equal(load(path), pixels_of(Request(prompt="a red apple", seed=7 + i)))
    assert os.getpid() not in painters(job)


def test_a_failure_of_a_replica_has_its_code(service: Service):
    job = ask(service, "too much memory")
    assert job.wait(300)
    assert job.failure is not None
    assert job.failure.code == "out_of_memory"


def test_a_cancelled_job_leaves_the_replica(service: Service, notes: Path):
    job = ask(service, "to be cancelled", steps=100)
    wait_for(lambda: len(steps_of(notes, "to be cancelled")) > 2)
    service.cancel(job)
    after = ask(service, "after it")
    assert after.wait(300)
    assert after.state == "done"
    time.sleep(5 * PACE)
    assert len(steps_of(notes, "to be cancelled")) < 90
    done = len(steps_of(notes, "to be cancelled"))
    time.sleep(5 * PACE)
    assert len(steps_of(notes, "to be cancelled")) == done


def test_more_work_brings_another_replica_and_a_dead_one_is_replaced(service: Service, notes: Path):
    endless = ask(service, "endless", steps=500)
    wait_for(lambda: bool(steps_of(notes, "endless")))
    job = ask(service, "painted by another", steps=40)
    wait_for(lambda: len(steps_of(notes, "painted by another")) > 2)
    (victim,) = {*steps_of(notes, "painted by another")}
    assert victim not in steps_of(notes, "endless")
    os.kill(victim, signal.SIGKILL)
    assert job.wait(300)
    assert (job.state, len(job.pictures)) == ("done", 1)
    assert victim not in painters(job)
    service.cancel(endless)
