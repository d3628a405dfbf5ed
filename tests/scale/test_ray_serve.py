"""The server with painters on a cluster: replicas come, die and are told to stop."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from distant_painters import PACE, DistantPainter
from fake_rows import pixels_of

from sfumato.pictures import load
from sfumato.request import Request
from sfumato.scale.serve import painting_service
from sfumato.server.jobs import Job
from sfumato.server.service import Service
from sfumato.server.settings import read_settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")


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


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 300
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


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
