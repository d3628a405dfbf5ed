"""An error has a stable code and the id of the request; no path, no trace, no prompt."""

from __future__ import annotations

from typing import Any

import pytest
from fake_painters import Live, Studio

from sfumato.finite import NotFiniteError
from sfumato.request import Request, RequestError


def ask(prompt: str = "a red apple", **fields: Any) -> Request:
    return Request(**{"prompt": prompt, "seed": 1, "steps": 3} | fields)


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
    assert (job.state, job.failure and job.failure.code) == ("failed", expected)
    assert job.failure is not None
    assert "secret" not in str(job.failure.to_json())
    studio.painter.trouble = lambda requests: None
    after = studio.service.submit(ask())
    assert after.wait(10)
    assert after.state == "done"


def test_an_error_of_ours_tells_nothing(live: Live, monkeypatch: pytest.MonkeyPatch):
    def broken(count: int, before: int | None) -> None:
        raise ZeroDivisionError("/secret/path")

    monkeypatch.setattr(live.studio.history, "page", broken)
    answer = live.client.get("/v1/jobs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert live.client.get("/healthz").status_code == 200


def test_every_api_tells_its_clients_the_id_that_the_log_has(live: Live):
    for path in ("/v1/jobs", "/v1/images/generations", "/sdapi/v1/txt2img", "/nothing"):
        answer = live.client.post(path, json={"prompt": "a private wish", "steps": -1})
        assert answer.status_code in (400, 404)
        found = answer.json()
        error = found["error"] if isinstance(found["error"], dict) else found
        assert error["request_id"] == answer.headers["x-request-id"]
        assert "private" not in answer.text
        assert "Traceback" not in answer.text
