"""Figures for Prometheus: the queue, the work, the memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from sfumato.server.jobs import Job
    from sfumato.server.service import Service

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """The figures of one service."""

    def __init__(self, service: Service) -> None:
        own = self.registry = CollectorRegistry()
        self._batch = Histogram(
            "sfumato_batch_pictures",
            "Pictures painted together.",
            registry=own,
            buckets=(1, 2, 4, 8, 16, 32, 64),
        )
        self._step = Histogram(
            "sfumato_step_seconds", "Seconds of a step.", registry=own, buckets=SECONDS
        )
        self._pictures = Counter("sfumato_pictures", "Pictures painted.", registry=own)
        self._jobs = Counter(
            "sfumato_jobs", "Requests that ended.", ["state", "code"], registry=own
        )
        self._took = Histogram(
            "sfumato_job_seconds",
            "Seconds of a request, waiting included.",
            registry=own,
            buckets=SECONDS,
        )
        self._http = Counter(
            "sfumato_http_requests", "Answers by status.", ["method", "status"], registry=own
        )
        live = {
            "sfumato_queue_depth": ("Requests that wait.", lambda: len(service.queue)),
            "sfumato_running": ("Requests that are painted.", lambda: len(service.running())),
            "sfumato_models_loaded": ("Models loaded.", lambda: len(service.loaded)),
            "sfumato_memory_bytes": (
                "Memory of the process.",
                lambda: psutil.Process().memory_info().rss,
            ),
        }
        for name, (text, read) in live.items():
            Gauge(name, text, registry=own).set_function(read)

    def batch(self, pictures: int) -> None:
        self._batch.observe(pictures)

    def step(self, seconds: float) -> None:
        self._step.observe(seconds)

    def picture(self) -> None:
        self._pictures.inc()

    def ended(self, job: Job) -> None:
        code = "" if job.failure is None else job.failure.code
        self._jobs.labels(job.state, code).inc()
        self._took.observe(time.time() - job.created)

    def answered(self, method: str, status: int) -> None:
        self._http.labels(method, str(status)).inc()

    def text(self) -> bytes:
        """All figures as Prometheus reads them."""
        return generate_latest(self.registry)
