"""A request that fails hurts none that is painted with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fake_painters import Studio

from sfumato.finite import NotFiniteError
from sfumato.request import Request


def ask(prompt: str = "a red apple", **fields: Any) -> Request:
    return Request(**{"prompt": prompt, "seed": 1, "steps": 3} | fields)


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
    assert jobs[2].failure is not None
    assert jobs[2].failure.code == "not_finite"
    assert studio.painter.batches == [[0, 1, 2, 3], [0, 1], [2, 3], [2], [3]]
