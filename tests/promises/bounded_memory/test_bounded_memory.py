"""Ten times more than the server can do: it says so, forgets nothing, and does not grow."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from fake_painters import Studio
from processes import Server, fake, serving
from starlette.types import Message, Receive, Scope, Send

from sfumato.pictures.pixels import to_data_url
from sfumato.request import Request, RequestError
from sfumato.server.door import Door, respond
from sfumato.server.jobs import Job

MIB = 2**20
QUEUE = 8


def test_overload_is_refused_and_memory_stays(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), "uint8")
    asked = {"prompt": "x" * 5000, "steps": 1, "image": to_data_url(noise), "strength": 1.0}
    body = json.dumps(asked).encode()  # 260 kB
    # A painter of 40 pictures a second, asked by clients who do not wait.
    with serving(fake(tmp_path, pace=0.1, queue=QUEUE, batch=4, history=16)) as server:
        flood(server, body, 40)
        before = server.memory()
        answers, urls = flood(server, body, 160)
        states = Counter(server.end(url)["state"] for url in urls[-16:])
        grown = server.memory() - before
        assert server.client.get("/readyz").status_code == 200
    assert set(answers) == {202, 429}
    assert sum(answers.values()) >= 10 * QUEUE
    assert answers[429] > answers[202]
    assert grown < 24 * MIB  # 160 bodies would be 41 MB, and as much again as text and as pixels
    assert set(states) == {"done"}  # what was taken was done


def flood(server: Server, body: bytes, count: int) -> tuple[Counter[int], list[str]]:
    """Ask so many times, eight at once; the answers by status, and the jobs."""
    urls: list[str] = []
    lock = threading.Lock()
    headers = {"content-type": "application/json"}

    def ask(client: httpx.Client) -> int:
        answer = client.post("/v1/jobs", content=body, headers=headers)
        if answer.status_code == 202:
            with lock:
                urls.append(answer.json()["url"])
        else:
            assert int(answer.headers["retry-after"]) > 0
            assert answer.json()["error"]["code"] == "queue_full"
        return answer.status_code

    with (
        httpx.Client(base_url=server.client.base_url, timeout=30) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        return Counter(pool.map(ask, [client] * count)), urls


def test_bodies_that_are_here_at_once_are_bounded(open_studio: Callable[..., Studio]):
    service = open_studio(max_body=1).service
    statuses: Counter[int] = Counter()
    held: list[int] = []

    async def check() -> None:
        go_on = asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await go_on.wait()
            await respond(send, 204)

        async def receive() -> Message:
            return {"type": "http.request", "body": b" " * 900_000}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses[message["status"]] += 1

        door = Door(application, service.settings, service.metrics)
        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/v1/jobs", "headers": headers}
        asked = [asyncio.ensure_future(door({**scope}, receive, send)) for _ in range(12)]
        while sum(statuses.values()) < 3:
            await asyncio.sleep(0)
        held.append(door.held)
        go_on.set()
        await asyncio.gather(*asked)
        held.append(door.held)

    asyncio.run(check())
    assert statuses == {429: 3, 204: 9}  # nine of them are less than 8 MiB
    assert held == [9 * 900_000, 0]


def test_an_ended_job_keeps_no_pixels(studio: Studio):
    image, mask = np.zeros((16, 16, 3), "uint8"), np.full((16, 16), 255, "uint8")
    job = studio.service.submit(Request(prompt="x", steps=1, image=image, mask=mask, mask_blur=2))
    assert job.wait(10)
    assert job.state == "done"
    assert (job.request.image, job.request.mask) == (None, None)
    assert job.request.mask_blur == 2


def test_nothing_is_kept_of_an_errand(studio: Studio):
    errand = studio.service.run(lambda: bytes(100))
    assert errand.wait(10)
    assert errand.result == bytes(100)
    until = time.monotonic() + 5
    while studio.service.job(errand.id) is not None:
        assert time.monotonic() < until


def test_a_page_of_the_history_is_bounded(studio: Studio):
    history, request = studio.history, Request(prompt="x")
    jobs = [Job(request, "fake", asked={"prompt": "x" * MIB}) for _ in range(12)]
    for job in jobs:
        history.add(job)
    first, before = history.page(100)
    assert 4 <= len(first) <= 6
    second, before = history.page(100, before)
    third, end = history.page(100, before)
    assert end is None
    found = [job["id"] for job in [*first, *second, *third]]
    assert found == [job.id for job in reversed(jobs)]


LAUGHS = {name: [f"__{after}__" * 100] for name, after in zip("abc", "bcd", strict=True)}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": "__a__", "wildcards": {**LAUGHS, "d": ["x"]}}, "wildcards"),
        ({"prompt": "__a__", "wildcards": {**LAUGHS, "d": [""]}}, "wildcards"),
        ({"prompt": "__a__", "wildcards": {"a": ["x" * 30_000]}}, "prompt"),
        ({"prompt": "x", "wildcards": {"a": ["x" * 2**20, "y"]}}, "wildcards"),
        ({"prompt": "a AND " * 20}, "prompt"),
        ({"prompt": "__a__", "wildcards": {"a": ["a AND " * 20]}}, "prompt"),
        ({"prompt": "x", "template": "x" * 30_000}, "template"),
        ({"prompt": "x", "image_name": "x" * 30_000}, "image_name"),
        ({"prompt": "x", "loras": [["x", 1]] * 33}, "loras"),
    ],
)
def test_a_few_words_make_no_endless_work(studio: Studio, fields: dict, field: str):
    with pytest.raises(RequestError) as caught:
        studio.service.submit(Request.from_json({"steps": 1} | fields))
    assert caught.value.name == field
    assert studio.painter.batches == []


def test_ordinary_words_are_let_pass(studio: Studio):
    for fields in (
        {"prompt": "a cat AND a dog:0.5 AND {a tree|a house}"},
        {"prompt": "x AND y " * 20, "prompt_syntax": "plain"},
        {"prompt": "__a__", "wildcards": {"a": ["x" * 19_000]}, "count": 2},
    ):
        assert studio.service.submit(Request.from_json({"steps": 1} | fields)).wait(10)
