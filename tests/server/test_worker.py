"""The worker: states and events, batches, failures that stay alone, cancelling, deadlines."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from fake_painters import Studio, pixels_of

from sfumato.pictures import load, load_recipe
from sfumato.request import Request
from sfumato.server.jobs import Job
from sfumato.server.queue import ClosedError, QueueFullError


def ask(prompt: str = "a red apple", **fields: Any) -> Request:
    return Request(**{"prompt": prompt, "seed": 1, "steps": 3} | fields)


def names(job: Job) -> list[str]:
    return [event.name for event in job.since(0)]


def code(job: Job) -> str:
    assert job.failure is not None
    return job.failure.code


def test_a_job_from_the_queue_to_its_pictures(open_studio: Callable[..., Studio]):
    studio = open_studio()
    job = studio.service.submit(ask(count=2, seed=7), "me")
    assert (job.state, studio.service.facts(job.id)["position"]) == ("queued", 0)
    studio.service.start()
    assert job.wait(10)
    assert (job.state, job.progress) == ("done", 1.0)
    expected = ["queued", "started", "loading", "step", "picture", "picture", "done"]
    assert names(job) == expected
    numbers = [event.number for event in job.since(0)]
    assert numbers == sorted(set(numbers))
    assert [picture["seed"] for picture in job.pictures] == [7, 8]
    for picture in job.pictures:
        path = studio.history.picture(picture["id"])
        assert path is not None
        expected = pixels_of(ask(seed=picture["seed"]))
        assert np.array_equal(load(path), expected)
        recipe = load_recipe(path)
        assert recipe is not None
        assert (recipe.prompt, recipe.items["Seed"]) == ("a red apple", str(picture["seed"]))


def test_requests_of_one_shape_are_painted_together(open_studio: Callable[..., Studio]):
    studio = open_studio(batch=4)
    jobs = [studio.service.submit(ask(seed=i), f"client {i}") for i in range(4)]
    jobs.append(studio.service.submit(ask(seed=9, steps=5)))
    studio.service.start()
    assert all(job.wait(10) for job in jobs)
    assert studio.painter.batches == [[0, 1, 2, 3], [9]]
    assert {job.state for job in jobs} == {"done"}


def test_many_pictures_go_in_batches_of_few_sizes(open_studio: Callable[..., Studio]):
    studio = open_studio(batch=4, max_count=16)
    job = studio.service.submit(ask(count=7, seed=0))
    studio.service.start()
    assert job.wait(10)
    assert list(map(len, studio.painter.batches)) == [4, 2, 1]
    assert [picture["place"] for picture in job.pictures] == [*range(7)]


def test_an_errand_takes_its_turn_and_models_go_if_it_needs_the_memory(studio: Studio):
    studio.painter.gate.clear()
    job = studio.service.submit(ask())
    ends: list[str] = []

    def work() -> str:
        ends.append(job.state)
        if studio.models.loaded:
            raise MemoryError
        return "done"

    errand = studio.service.run(work)
    assert not errand.wait(0.05)
    studio.painter.gate.set()
    assert errand.wait(10)
    assert (errand.state, errand.result, studio.models.loaded) == ("done", "done", [])
    assert len(ends) == 2
    assert job.wait(10)
    assert [facts["id"] for facts in studio.history.page(9)[0]] == [job.id]


def test_previews_are_made_for_those_who_look(studio: Studio):
    studio.painter.gate.clear()
    job = studio.service.submit(ask(steps=2))
    job.wants_previews = True
    told: list[dict[str, Any]] = []
    job.listen(lambda: told.append(job.step) if job.step and job.step not in told else None)
    studio.painter.gate.set()
    assert job.wait(10)
    assert [step["step"] for step in told] == [1, 2]
    assert told[0]["previews"][0].startswith("data:image/png;base64,")
    quiet = studio.service.submit(ask(steps=2))
    quiet.listen(lambda: told.append(quiet.step) if quiet.step else None)
    assert quiet.wait(10)
    assert all(step["previews"] == [] for step in told[2:])


def test_a_full_or_draining_service_takes_no_more(open_studio: Callable[..., Studio]):
    studio = open_studio(queue=1)
    job = studio.service.submit(ask())
    with pytest.raises(QueueFullError):
        studio.service.submit(ask())
    assert len(studio.history.page(10)[0]) == 1
    studio.service.start()
    studio.service.drain(10)
    assert job.state == "done"  # finished, not dropped
    with pytest.raises(ClosedError):
        studio.service.submit(ask())


def test_draining_ends_what_takes_too_long(studio: Studio):
    studio.painter.pace = 0.05
    jobs = [studio.service.submit(ask(steps=100)), studio.service.submit(ask(steps=99))]
    while not studio.painter.batches:
        time.sleep(0.001)
    studio.service.drain(0.1)
    assert [code(job) for job in jobs] == ["interrupted"] * 2
    assert not studio.service.workers[0].is_alive()


def test_the_next_picture_is_painted_while_the_last_is_kept(open_studio: Callable[..., Studio]):
    studio = open_studio(batch=1)
    keep = studio.history.keep
    painted: list[int] = []

    def slow(*arguments: Any) -> dict[str, Any]:
        painted.append(studio.painter.steps_done)
        time.sleep(0.2)
        painted.append(studio.painter.steps_done)
        return keep(*arguments)

    studio.history.keep = slow  # type: ignore[method-assign]
    jobs = [studio.service.submit(ask(seed=i)) for i in range(2)]
    studio.service.start()
    assert all(job.wait(10) for job in jobs)
    assert painted[0] < painted[1] == 6
    assert [len(job.pictures) for job in jobs] == [1, 1]


@pytest.mark.parametrize(
    ("backend", "asked", "most"), [("jax", None, 4), ("openvino", None, 1), ("openvino", 8, 8)]
)
def test_as_many_are_painted_together_as_pay(
    monkeypatch: pytest.MonkeyPatch,
    open_studio: Callable[..., Studio],
    backend: str,
    asked: int | None,
    most: int,
) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    assert [worker.most for worker in open_studio(batch=asked).service.workers] == [most]
