"""The log has no prompts unless its user asks for them, and no line that a client wrote."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_painters import Live
from processes import fake, serving

ASK = {"prompt": "a very private wish", "steps": 1, "seed": 1}


def test_the_log_has_no_words_unless_it_is_asked_for(
    open_live: Callable[..., Live], caplog: pytest.LogCaptureFixture
):
    def trouble(requests):
        raise ValueError("something")

    caplog.set_level(logging.DEBUG)
    for log_prompts in (False, True):
        live = open_live(log_prompts=log_prompts)
        live.studio.painter.trouble = trouble
        job = live.client.post("/v1/jobs", json=ASK).json()
        live.client.get(job["url"])
        live.client.post("/v1/jobs", json=ASK | {"steps": -1})
        live.client.get("/v1/jobs", params={"q": "a very private wish"})
        ours = [r.getMessage() for r in caplog.records if r.name.startswith("sfumato")]
        assert ("private" in str(ours)) == log_prompts
        assert "POST /v1/jobs 202" in str(ours)


WARNS = """
import warnings

def warn(requests):
    warnings.warn(f"The prompt was cut off: {requests[0].prompt}")

studio.painter.trouble = warn
"""


@pytest.mark.parametrize("log_prompts", [False, True])
def test_warnings_are_logged_without_their_words(tmp_path: Path, log_prompts: bool):
    with serving(fake(tmp_path, change=WARNS, log_prompts=log_prompts)) as server:
        for _ in range(2):
            url = server.client.post("/v1/jobs", json=ASK).json()["url"]
            assert server.end(url)["state"] == "done"
        server.client.get("/v1/%0d%0aINFO%20all%20is%20well%1b[2J")
        log = server.said()
    assert log.count("UserWarning") == 2  # each time: none is remembered
    assert log.count("cut off: a very private wish") == 2 * log_prompts
    assert ("private" in log) == log_prompts
    assert "\x1b" not in log
    assert not any(line.startswith("INFO") for line in log.splitlines())
