"""The worker: states and events, batches, failures that stay alone, cancelling, deadlines."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_painters import Studio, pixels_of

from sfumato.finite import NotFiniteError
from sfumato.pictures import load, load_recipe
from sfumato.request import Request, RequestError
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


ERRORS = [
    (MemoryError("9 GB"), "out_of_memory"),
    (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to"), "out_of_memory"),
    (NotFiniteError("the file is damaged: /secret/place"), "not_finite"),
    (RequestError("steps", "be fewer", "steps=3"), "invalid_request"),
    (OSError(28, "No space left on device", "/secret/place"), "disk_full"),
    (ZeroDivisionError("/secret/place"), "internal"),
]


@pytest.mark.parametrize(("error", "expected"), ERRORS)
def test_a_failure_has_a_stable_code_and_the_next_request_works(
    studio: Studio, error: Exception, expected: str
):
    def trouble(requests):
        raise error

    studio.painter.trouble = trouble
    job = studio.service.submit(ask())
    assert job.wait(10)
    assert (job.state, code(job)) == ("failed", expected)
    assert job.failure is not None
    assert "secret" not in str(job.failure.to_json())
    studio.painter.trouble = lambda requests: None
    after = studio.service.submit(ask())
    assert after.wait(10)
    assert after.state == "done"


def test_one_bad_request_of_a_batch_fails_alone(open_studio: Callable[..., Studio]):
    studio = open_studio(batch=4)
    jobs = [studio.service.submit(ask(seed=i), f"client {i}") for i in range(4)]

    def trouble(requests):
        if any(request.seed == 2 for request in requests):
            raise NotFiniteError

    studio.painter.trouble = trouble
    studio.service.start()
    assert all(job.wait(10) for job in jobs)
    assert [job.state for job in jobs] == ["done", "done", "failed", "done"]
    assert code(jobs[2]) == "not_finite"
    assert studio.painter.batches == [[0, 1, 2, 3], [0, 1], [2, 3], [2], [3]]


def test_a_batch_that_is_too_large_is_painted_in_smaller_ones(open_studio: Callable[..., Studio]):
    studio = open_studio(batch=4)
    job = studio.service.submit(ask(count=4, seed=0))

    def trouble(requests):
        if len(requests) > 1:
            raise MemoryError

    studio.painter.trouble = trouble
    studio.service.start()
    assert job.wait(10)
    assert job.state == "done"
    assert studio.painter.batches[-4:] != [[0, 1, 2, 3]]
    assert [picture["seed"] for picture in job.pictures] == [0, 1, 2, 3]


def test_other_models_go_when_there_is_too_little_memory(open_studio: Callable[..., Studio]):
    studio = open_studio(models=["fake=mini", "other=mini-turbo"])
    studio.service.start()
    assert studio.service.submit(ask(), model="other").wait(10)
    assert studio.models.loaded == ["other"]

    def trouble(requests):
        if "other" in studio.models.loaded:
            raise MemoryError

    studio.painter.trouble = trouble
    job = studio.service.submit(ask())
    assert job.wait(10)
    assert (job.state, studio.models.loaded) == ("done", ["fake"])


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


def test_cancelling_leaves_the_loop_within_a_step(studio: Studio):
    studio.painter.gate.clear()
    job = studio.service.submit(ask(steps=50))
    waiting = studio.service.submit(ask(steps=40))
    while not studio.painter.batches:
        time.sleep(0.001)
    assert studio.service.cancel(waiting)
    assert studio.service.cancel(job)
    assert not studio.service.cancel(job)
    assert (job.state, code(job)) == ("cancelled", "cancelled")
    studio.painter.gate.set()
    assert studio.service.submit(ask(seed=3)).wait(10)
    assert studio.painter.steps_done <= 1 + 3
    assert studio.painter.batches == [[1], [3]]
    assert names(job)[-1] == "cancelled"


def test_who_is_painted_along_goes_on(open_studio: Callable[..., Studio]):
    studio = open_studio(batch=2)
    jobs = [studio.service.submit(ask(seed=i), f"client {i}") for i in range(2)]
    studio.painter.gate.clear()
    studio.service.start()
    while not studio.painter.batches:
        time.sleep(0.001)
    studio.service.cancel(jobs[0])
    studio.painter.gate.set()
    assert jobs[1].wait(10)
    assert [job.state for job in jobs] == ["cancelled", "done"]
    assert jobs[0].pictures == []


def test_a_late_request_fails_whether_it_waits_or_is_painted(open_studio: Callable[..., Studio]):
    studio = open_studio(deadline=0.2)
    studio.painter.pace = 0.02
    jobs = [studio.service.submit(ask(steps=100)), studio.service.submit(ask(steps=99))]
    studio.service.start()
    assert all(job.wait(10) for job in jobs)
    assert [code(job) for job in jobs] == ["deadline"] * 2
    assert studio.painter.steps_done < 30


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


def test_limits_are_checked_before_anything_is_computed(open_studio: Callable[..., Studio]):
    studio = open_studio(max_steps=10, max_side=64, max_count=2, max_words=20)
    for field, value in {
        "steps": 10**9,
        "width": 72,
        "count": 3,
        "prompt": "a" * 21,
        "seed": 2**64 - 1,
        "model": "/etc/passwd",
        "upscale": 8,
        "refiner": "/etc/passwd",
        "seed_resize": (40_000, 40_000),
        "extend": {"left": 5_000_000},
        "upscale_steps": 1000,
    }.items():
        others = {"seed": {"count": 2}, "upscale_steps": {"upscale": 1}}
        others["extend"] = {"image": np.zeros((16, 16, 3), "uint8"), "inpaint_area": "masked"}
        request = ask(**{field: value} | others.get(field, {}))
        with pytest.raises(RequestError) as caught:
            studio.service.submit(request)
        assert caught.value.name == field
    assert len(studio.service.queue) == 0


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


def test_a_picture_that_cannot_be_kept_fails_its_request(studio: Studio):
    def full(*arguments: Any) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    keep, studio.history.keep = studio.history.keep, full  # type: ignore[method-assign]
    job = studio.service.submit(ask(count=2))
    assert job.wait(10)
    assert (job.state, code(job)) == ("failed", "disk_full")
    studio.history.keep = keep  # type: ignore[method-assign]
    after = studio.service.submit(ask())
    assert after.wait(10)
    assert after.state == "done"
