"""The server without HTTP: takes requests, gives jobs."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sfumato.request import Request
from sfumato.request.declaration import SAFETY
from sfumato.server.adapters import Adapters
from sfumato.server.history import History
from sfumato.server.jobs import RUNNING, Errand, Job
from sfumato.server.limits import check_drawn, check_limits
from sfumato.server.metrics import Metrics
from sfumato.server.models import Models, devices, most_together
from sfumato.server.queue import ClosedError, Queue, QueueFullError
from sfumato.server.settings import Settings
from sfumato.server.worker import Worker

log = logging.getLogger(__name__)

RECENT = 64
"""Jobs that have ended whose events can still be read."""


class Service:
    """A queue, the models and a worker for each device, and the history."""

    def __init__(
        self,
        settings: Settings,
        models: Sequence[Models] = (),
        history: History | None = None,
    ) -> None:
        self.settings = settings
        shelves = models or [Models(settings, device=device) for device in devices()]
        self.models = shelves[0]  # the names and what files say are the same for all
        self.adapters = Adapters(settings)
        self.history = history or History(settings.folder, settings.history, settings.metadata)
        self.queue = Queue(settings.queue, settings.batch_wait)
        self.metrics = Metrics(self)
        most = most_together(settings.batch)
        self.workers = [
            Worker(self.queue, each, self.history, most, self.metrics) for each in shelves
        ]
        self.is_draining = False
        self.began = int(time.time())
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def start(self) -> None:
        for worker in self.workers:
            worker.start()

    @property
    def is_alive(self) -> bool:
        """Whether all devices have their thread."""
        return all(worker.is_alive() for worker in self.workers)

    @property
    def loaded(self) -> list[str]:
        """The names of the models that are loaded, for each device."""
        return [name for worker in self.workers for name in worker.models.loaded]

    # Jobs

    def submit(
        self,
        request: Request,
        client: str = "",
        model: str | None = None,
        prepare: Callable[[Job], Any] = lambda job: None,
    ) -> Job:
        """Complete a request and let it wait for its turn.

        Args:
            request: as a client asks for it; its ``model`` is a name that `Models.find` knows.
            client: whose turn it takes.
            model: the served name in place of the request's.
            prepare: is called with the job before it can begin.

        Raises:
            RequestError: the request cannot be.
            QueueFullError, ClosedError: not now.
        """
        self.check_room()
        check_limits(request, self.settings)
        name = self.models.find(model or request.model)
        safety = max(request.safety, self.settings.safety, key=SAFETY.index)
        plain = self.adapters.given(request).changed(model=None, safety=safety)
        completed = self.models.open(name).completed(plain)
        check_limits(completed, self.settings)
        check_drawn(completed, self.settings)

        deadline = time.time() + self.settings.deadline
        job = Job(completed, name, client, deadline, self._asked(request, completed, name))
        job.record = self._record
        prepare(job)
        try:
            self.history.add(job)
            self._put(job)
        except BaseException:
            self.history.delete(job.id)
            raise
        self._log_words(job)
        return job

    def run(self, work: Callable[[], Any], client: str = "") -> Errand:
        """Let work for a device wait for its turn, of which nothing is kept.

        Raises:
            QueueFullError, ClosedError: not now.
        """
        self.check_room()
        deadline = time.time() + self.settings.deadline
        errand = Errand(Request(prompt=""), "", client, deadline, work=work)
        self._put(errand)
        return errand

    def _put(self, job: Job) -> None:
        with self._lock:
            self._jobs[job.id] = job
        try:
            job.listen(lambda: self._ended(job))
            self.queue.put(job)
        except BaseException:
            with self._lock:
                self._jobs.pop(job.id, None)
            raise

    def check_room(self) -> None:
        """Refuse early what would find no room, before its pictures are decoded.

        Raises:
            QueueFullError, ClosedError: not now.
        """
        if self.is_draining:
            raise ClosedError
        if len(self.queue) >= self.settings.queue:
            raise QueueFullError

    def job(self, name: str) -> Job | None:
        """A job that is on its way, or has ended lately."""
        with self._lock:
            return self._jobs.get(name)

    def facts(self, name: str) -> dict[str, Any] | None:
        """What is known of a job, be it long ago; None: nothing."""
        job = self.job(name)
        if job is None:
            return self.history.find(name)
        position = self.queue.position(job)
        return job.to_json() | ({} if position is None else {"position": position})

    def live(self) -> list[Job]:
        """The jobs that have not ended, in the order of their coming."""
        with self._lock:
            return [job for job in self._jobs.values() if not job.has_ended]

    def running(self) -> list[Job]:
        """The jobs that are painted."""
        return [job for job in self.live() if job.state == RUNNING]

    def cancel(self, job: Job) -> bool:
        """End a job; whether it had not ended yet."""
        ended = job.cancel()
        self.queue.remove(job)
        return ended

    def forget(self, name: str) -> None:
        """Forget a job that has ended, and its pictures."""
        with self._lock:
            self._jobs.pop(name, None)
        self.history.delete(name)

    # The end of the service

    def drain(self, seconds: float) -> None:
        """Take no more requests, and finish those that are there, within so many seconds."""
        self.is_draining = True
        self.queue.close()
        until = time.monotonic() + seconds
        while self.live() and time.monotonic() < until:
            time.sleep(0.02)
        self.queue.clear("interrupted")
        for job in self.live():
            job.fail("interrupted")
        for worker in self.workers:
            if worker.is_alive():
                worker.join(5)

    def stop(self) -> None:
        """End at once; requests that are there fail."""
        self.drain(0)
        self.history.close()

    # Within

    def _asked(self, request: Request, completed: Request, name: str) -> dict[str, Any]:
        """The request for the history: what is chosen is said, pictures are uploads."""
        pictures = {
            field: f"upload:{self.history.add_upload(pixels)}"
            for field in ("image", "mask")
            if (pixels := getattr(request, field)) is not None
        }
        shown = ("controls", "image_prompts")
        bare = {f: [replace(each, image=None) for each in getattr(completed, f)] for f in shown}
        own = {"image_name": request.image_name, "embeddings": request.embeddings}
        plain = completed.changed(image=None, mask=None, **bare, **own)
        asked = plain.to_json() | {"model": name} | pictures
        for field in shown:
            for values, each in zip(asked.get(field, ()), getattr(request, field), strict=True):
                if each.image is not None:
                    values["image"] = f"upload:{self.history.add_upload(each.image)}"
        return asked

    def _ended(self, job: Job) -> None:
        """Forget old jobs when one has ended, on whatever thread that came."""
        if not job.has_ended:
            return
        self.metrics.ended(job)
        with self._lock:
            ended = [name for name, each in self._jobs.items() if each.has_ended]
            done = [job.id] if isinstance(job, Errand) else []  # nobody asks for it by its id
            for name in {*ended[:-RECENT], *done} & self._jobs.keys():
                del self._jobs[name]

    def _record(self, facts: dict[str, Any]) -> None:
        """Note the end of a job; it has ended whether or not that succeeds."""
        try:
            self.history.update(facts)
        except (OSError, sqlite3.Error) as error:
            log.error("job %s was not recorded: %s", facts["id"], error)

    def _log_words(self, job: Job) -> None:
        if self.settings.log_prompts:
            log.info("job %s: %r", job.id, job.request.prompt)
