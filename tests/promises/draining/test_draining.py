"""At SIGTERM the server finishes what it took and takes no more; a second signal ends it."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from processes import Server, fake, serving

from sfumato.server.history import History

ASK = {"prompt": "a red apple", "seed": 1}


def running(server: Server, steps: int) -> str:
    url = server.client.post("/v1/jobs", json=ASK | {"steps": steps}).json()["url"]
    while server.client.get(url).json()["progress"] == 0:
        time.sleep(0.01)
    return url


def test_at_sigterm_it_finishes_takes_nothing_new_and_exits_0(tmp_path: Path):
    with serving(fake(tmp_path, pace=0.05)) as server, ThreadPoolExecutor(1) as pool:
        running(server, 40)
        body = {"prompt": "x", "steps": 2}
        waits = pool.submit(server.client.post, "/v1/images/generations", json=body)
        while server.client.get("/v1/jobs").json()["jobs"][0]["request"]["prompt"] != "x":
            time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        while server.client.get("/readyz").status_code != 503:
            time.sleep(0.01)
        assert server.client.post("/v1/jobs", json=ASK).status_code == 503
        assert server.client.get("/healthz").status_code == 200
        assert server.process.wait(20) == 0
        assert len(waits.result().json()["data"]) == 1  # who waited got its picture
    history = History(tmp_path)
    jobs = history.page(9)[0]
    assert [(job["state"], len(job["pictures"])) for job in jobs] == [("done", 1)] * 2
    history.close()


def test_what_takes_longer_than_drain_is_ended(tmp_path: Path):
    with serving(fake(tmp_path, pace=0.05, drain=0.2)) as server:
        running(server, 150)
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert time.monotonic() - start < 6  # the picture would take 7.5 seconds
    history = History(tmp_path)
    assert history.page(9)[0][0]["error"]["code"] == "interrupted"
    history.close()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, second: signal.Signals):
    with serving(fake(tmp_path, pace=0.05)) as server:
        running(server, 150)
        server.process.send_signal(signal.SIGTERM)
        while server.client.get("/readyz").status_code != 503:
            time.sleep(0.01)
        start = time.monotonic()
        server.process.send_signal(second)
        assert server.process.wait(20) == 1
        assert time.monotonic() - start < 3
