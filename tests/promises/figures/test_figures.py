"""Health, readiness and figures say what is."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
from fake_painters import Live
from prometheus_client.parser import text_string_to_metric_families

from sfumato.server import wire

ASK = {"prompt": "a red apple", "steps": 4, "seed": 1}


def figures(live: Live) -> dict[str, float]:
    """All figures by name and labels."""
    found = {}
    for family in text_string_to_metric_families(live.client.get("/metrics").text):
        for sample in family.samples:
            labels = "".join(f" {name}={value}" for name, value in sorted(sample.labels.items()))
            found[sample.name.removeprefix("sfumato_") + labels] = sample.value
    return found


def ask(live: Live, **fields: object) -> str:
    answer = live.client.post("/v1/jobs", json=ASK | fields)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def test_figures_are_those_of_the_work(open_live: Callable[..., Live]):
    live = open_live(batch=4)
    painter, service = live.studio.painter, live.studio.service
    painter.gate.clear()
    running = ask(live, count=2)
    while not painter.batches:
        time.sleep(0.005)
    waiting, cancelled = ask(live, steps=3), ask(live, steps=2)
    seen = figures(live)
    assert (seen["queue_depth"], seen["running"], seen["models_loaded"]) == (2, 1, 1)
    assert abs(seen["memory_bytes"] / psutil.Process().memory_info().rss - 1) < 0.2

    live.client.delete(f"/v1/jobs/{cancelled}")
    assert figures(live)["queue_depth"] == 1
    painter.pace = 0.02
    painter.gate.set()
    for name in (running, waiting):
        assert service.job(name).wait(10)  # type: ignore[union-attr]
    painter.trouble = lambda requests: 1 / 0
    assert service.job(ask(live)).wait(10)  # type: ignore[union-attr]
    until = time.monotonic() + 5
    while (seen := figures(live))["running"]:
        assert time.monotonic() < until

    assert (seen["queue_depth"], seen["pictures_total"]) == (0, 3)
    assert seen["batch_pictures_count"] == 3  # of two pictures, of one, and of one that failed
    assert (seen["batch_pictures_sum"], seen["batch_pictures_bucket le=1.0"]) == (4, 2)
    assert seen["step_seconds_count"] == 4 + 3
    assert 7 * 0.02 <= seen["step_seconds_sum"] < 5
    jobs = {name: value for name, value in seen.items() if name.startswith("jobs_total")}
    assert jobs == {
        "jobs_total code= state=done": 2,
        "jobs_total code=cancelled state=cancelled": 1,
        "jobs_total code=internal state=failed": 1,
    }
    assert seen["job_seconds_count"] == 4
    assert seen["http_requests_total method=POST status=202"] == 4
    assert seen["http_requests_total method=DELETE status=200"] == 1


def test_a_word_of_a_client_is_no_name_of_a_figure(live: Live):
    live.client.request("WHATEVER", "/v1/jobs")
    assert figures(live)["http_requests_total method=other status=405"] == 1


def test_figures_can_be_switched_off(open_live: Callable[..., Live]):
    assert open_live(metrics=False).client.get("/metrics").status_code == 404


def test_readiness_ends_when_it_drains_and_health_with_its_worker(open_live: Callable[..., Live]):
    live = open_live()
    assert live.client.get("/healthz").json() == {"status": "ok"}
    assert live.client.get("/readyz").json() == {"status": "ready"}
    live.studio.service.is_draining = True
    assert live.client.get("/healthz").status_code == 200
    assert live.client.get("/readyz").status_code == 503
    answer = live.client.post("/v1/jobs", json=ASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "draining")
    assert int(answer.headers["retry-after"]) > 0
    live.studio.service.drain(0)  # which ends the worker
    assert live.client.get("/healthz").status_code == 503


def test_health_is_told_while_all_threads_are_busy(live: Live):
    """Pictures of clients are decoded a few at once; the others keep a thread waiting each."""
    permits = wire.DECODING._initial_value  # type: ignore[attr-defined]
    for _ in range(permits):
        wire.DECODING.acquire()
    try:
        with ThreadPoolExecutor(64) as pool:
            headers = {"Content-Type": "image/png"}
            sent = [
                pool.submit(live.client.post, "/v1/uploads", content=b"x", headers=headers)
                for _ in range(64)
            ]
            time.sleep(0.3)
            assert live.client.get("/healthz", timeout=5).status_code == 200
            assert live.client.get("/readyz", timeout=5).status_code == 200
            assert not any(answer.done() for answer in sent)
            wire.DECODING.release(permits)
            assert {answer.result().status_code for answer in sent} == {400}
    finally:
        missing = permits - wire.DECODING._value  # type: ignore[attr-defined]
        if missing:
            wire.DECODING.release(missing)
