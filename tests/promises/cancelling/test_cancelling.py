"""Who cancels, goes away or waits too long is painted for no more, within a step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fake_painters import Live, Studio

from sfumato.request import Request

ASK = {"prompt": "a red apple", "steps": 3, "seed": 5}


def ask(**fields: Any) -> Request:
    return Request(**{"prompt": "a red apple", "seed": 1, "steps": 3} | fields)


def test_cancelling_leaves_the_loop_within_a_step(studio: Studio):
    studio.painter.gate.clear()
    job = studio.service.submit(ask(steps=50))
    waiting = studio.service.submit(ask(steps=40))
    while not studio.painter.batches:
        time.sleep(0.001)
    assert studio.service.cancel(waiting)
    assert studio.service.cancel(job)
    assert not studio.service.cancel(job)
    assert (job.state, job.failure.code) == ("cancelled", "cancelled")
    studio.painter.gate.set()
    assert studio.service.submit(ask(seed=3)).wait(10)
    assert studio.painter.steps_done <= 1 + 3
    assert studio.painter.batches == [[1], [3]]
    assert job.since(0)[-1].name == "cancelled"


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
    assert [job.failure.code for job in jobs if job.failure] == ["deadline"] * 2
    assert studio.painter.steps_done < 30


def test_delete_cancels_within_a_step(live: Live):
    live.studio.painter.pace = 0.02
    job = live.client.post("/v1/jobs", json=ASK | {"steps": 100}).json()
    while live.client.get(job["url"]).json()["progress"] == 0:
        time.sleep(0.005)
    before = live.studio.painter.steps_done
    assert live.client.delete(job["url"]).json()["state"] == "cancelled"
    after = live.client.post("/v1/jobs", json=ASK).json()
    assert live.studio.service.job(after["id"]).wait(10)  # type: ignore[union-attr]
    assert live.studio.painter.steps_done <= before + 2 + 3
    facts = live.client.get(job["url"]).json()
    assert (facts["state"], facts["error"]["code"]) == ("cancelled", "cancelled")
    assert live.client.delete(job["url"]).status_code == 200  # said twice


@pytest.mark.parametrize("stream", [False, True])
def test_who_goes_away_cancels(live: Live, stream: bool):
    live.studio.painter.pace = 0.05
    body = {"prompt": "x", "steps": 150, "stream": stream, "partial_images": 3}
    with pytest.raises(httpx.ReadTimeout):  # a second, as the machine may be busy
        live.client.post("/v1/images/generations", json=body, timeout=1)
    until = time.monotonic() + 5
    while (job := live.client.get("/v1/jobs").json()["jobs"][0])["state"] == "running":
        assert time.monotonic() < until
    assert job["state"] == "cancelled"
    done = live.studio.painter.steps_done
    time.sleep(0.2)
    assert live.studio.painter.steps_done <= done + 1


@pytest.mark.parametrize("path", ["/sdapi/v1/txt2img", "/v1/images/generations"])
def test_who_goes_away_while_it_waits_is_not_painted_for(live: Live, path: str):
    live.studio.painter.gate.clear()
    live.client.post("/v1/jobs", json=ASK)
    while not live.studio.painter.batches:
        time.sleep(0.005)
    with pytest.raises(httpx.ReadTimeout):
        live.client.post(path, json={"prompt": "x", "steps": 9, "seed": 7}, timeout=1)
    until = time.monotonic() + 5
    while len(live.studio.service.queue):
        assert time.monotonic() < until
    live.studio.painter.gate.set()
    assert live.studio.service.submit(ask(seed=8)).wait(10)
    assert live.studio.painter.batches == [[5], [8]]


def test_a_late_request_is_told_so_by_every_api(open_live: Callable[..., Live]):
    live = open_live(deadline=0.2)
    live.studio.painter.pace = 0.02
    for path in ("/sdapi/v1/txt2img", "/v1/images/generations"):
        begin = time.monotonic()
        answer = live.client.post(path, json={"prompt": "x", "steps": 150})
        assert answer.status_code == 504
        assert '"deadline"' in answer.text
        assert time.monotonic() - begin < 2.5  # the picture would take three seconds
