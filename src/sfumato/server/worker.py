"""The thread that owns a device: takes batches from the queue and paints them.

A batch that fails is painted again in halves, down to the single picture that cannot be painted,
whose request fails alone. Requests end when they are cancelled or late; the loop is left within a
step once nobody waits for any of its pictures.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sfumato.picture import Picture
from sfumato.pictures.pixels import to_data_url
from sfumato.request import Request
from sfumato.server.failures import Trouble, is_out_of_memory
from sfumato.server.jobs import FAILED, Errand, Job
from sfumato.server.models import Models
from sfumato.server.queue import Queue

if TYPE_CHECKING:
    from sfumato.generation import Step

log = logging.getLogger(__name__)

IDLE = 1.0
"""Seconds without work after which idle models are looked at."""


class Keeper(Protocol):
    """Keeps the pictures that are made."""

    def keep(self, job: Job, place: int, picture: Picture) -> dict[str, Any]:
        """Keep one picture; returns what clients are told of it."""
        ...


class Watcher(Protocol):
    """Is told how the work goes, in figures."""

    def batch(self, pictures: int) -> None: ...
    def step(self, seconds: float) -> None: ...
    def picture(self) -> None: ...


@dataclass(eq=False)
class Unit:
    """One picture of a job."""

    job: Job
    place: int
    request: Request
    is_made: bool = False

    @property
    def is_wanted(self) -> bool:
        return not (self.is_made or self.job.has_ended or self.place in self.job.skipped)


class Worker(threading.Thread):
    """Paints what the queue gives.

    Args:
        queue, models, keeper: where work comes from, what paints it, where it goes.
        most: pictures that may be painted together.
        watcher: is told of batches, steps and pictures.
    """

    def __init__(
        self, queue: Queue, models: Models, keeper: Keeper, most: int, watcher: Watcher
    ) -> None:
        super().__init__(name="sfumato-worker", daemon=True)
        self.queue, self.models, self.keeper = queue, models, keeper
        self.most, self.watcher = most, watcher
        # Encoding a file takes a tenth of a second, in which the device may paint the next picture.
        self._keeping = ThreadPoolExecutor(1, "sfumato-keeper")
        self._room = threading.Semaphore(2 * most)

    def run(self) -> None:
        with self.models.on_device():
            while (jobs := self.queue.take(self.most, IDLE)) is not None:
                if jobs:
                    self.paint(jobs)
                else:
                    self.models.unload_idle()
        self._keeping.shutdown()

    def paint(self, jobs: Sequence[Job]) -> None:
        """Paint jobs of one key; each of them ends when its pictures are kept."""
        try:
            for job in jobs:
                job.start()
            if isinstance(jobs[0], Errand):
                self._run(jobs[0])
                return
            units = [Unit(job, i, one) for job in jobs for i, one in enumerate(singles(job))]
            for part in parts_of(units, self.most):
                self._attempt(part)
        except Exception as error:  # noqa: BLE001  the thread must live on
            for job in jobs:
                self._fail(job, Trouble.of(error))
        self._keeping.submit(self._end, jobs)

    def _run(self, errand: Errand) -> None:
        """Do an errand; once more without any model if there was too little memory."""
        try:
            errand.result = errand.work()
        except Exception as error:
            if not (is_out_of_memory(error) and self.models.unload_others("")):
                raise
            errand.result = errand.work()
        errand.finish()

    def _attempt(self, units: Sequence[Unit]) -> None:
        """Paint pictures together, or in halves if that fails."""
        units = [unit for unit in units if unit.is_wanted]
        if not units:
            return
        try:
            self._paint(units)
            return
        except Exception as error:  # noqa: BLE001  whatever a backend raises
            trouble = Trouble.of(error)
        left = [unit for unit in units if unit.is_wanted]
        half = len(left) // 2
        if trouble.failure.code == "out_of_memory" and self.models.unload_others(
            units[0].job.model
        ):
            self._attempt(left)
        elif half:
            self._attempt(left[:half])
            self._attempt(left[half:])
        elif left:
            self._fail(left[0].job, trouble)

    def _paint(self, units: Sequence[Unit]) -> None:
        name = units[0].job.model
        if name not in self.models.loaded:
            for job in {unit.job: None for unit in units}:
                job.publish("loading", {"model": name})
        model = self.models.use(name)
        self.watcher.batch(len(units))
        made, before = 0, time.perf_counter()
        with closing(model.stream([unit.request for unit in units])) as events:
            for event in events:
                if isinstance(event, Picture):
                    self._keep(units[made], event)
                    made += 1
                else:
                    self._report(units[made : made + event.denoised.shape[0]], event)
                    now = time.perf_counter()
                    self.watcher.step(now - before)
                    before = now
                self._expire(units)
                if not any(unit.is_wanted for unit in units):
                    break
        self.models.done(name)

    def _keep(self, unit: Unit, picture: Picture) -> None:
        """Let another thread keep a picture, unless too many wait for that."""
        if unit.is_wanted:
            unit.is_made = True
            self._room.acquire()
            self._keeping.submit(self._kept, unit, picture)

    def _kept(self, unit: Unit, picture: Picture) -> None:
        try:
            if not unit.job.has_ended:
                unit.job.keep(self.keeper.keep(unit.job, unit.place, picture))
                self.watcher.picture()
        except Exception as error:  # noqa: BLE001  such as a full disk
            self._fail(unit.job, Trouble.of(error))
        finally:
            self._room.release()

    def _end(self, jobs: Sequence[Job]) -> None:
        """End jobs whose pictures are all kept, unless they have failed."""
        for job in jobs:
            job.finish()

    def _report(self, units: Sequence[Unit], event: Step) -> None:
        """Tell the jobs of a step, with previews where somebody looks at them."""
        looked = {
            unit.job
            for unit in units
            if unit.job.wants_previews or unit.job.is_partial(event.step, event.steps)
        }
        previews = event.preview() if looked else None
        told: dict[Job, dict[str, Any]] = {}
        for row, unit in enumerate(units):
            step = {"step": event.step, "steps": event.steps, "pictures": [], "previews": []}
            step = told.setdefault(unit.job, step)
            step["pictures"].append(unit.place)
            if previews is not None and unit.job in looked:
                step["previews"].append(to_data_url(previews[row]))
        for job, step in told.items():
            job.report(step)

    def _expire(self, units: Sequence[Unit]) -> None:
        now = time.time()
        self.queue.expire(now)
        for unit in units:
            if unit.job.deadline <= now:
                unit.job.fail("deadline")

    def _fail(self, job: Job, trouble: Trouble) -> None:
        if job.end(FAILED, trouble.failure):
            log.error("job %s failed: %s", job.id, trouble.text)


def singles(job: Job) -> Iterator[Request]:
    """A request for each picture of a job; its words are drawn when it is painted."""
    return job.request.batches(1)


def parts_of(units: Sequence[Unit], most: int) -> Iterator[Sequence[Unit]]:
    """Batches of 1, 2, 4, ... pictures: each size is an executable of its own."""
    while units:
        size = 1
        while 2 * size <= min(most, len(units)):
            size *= 2
        yield units[:size]
        units = units[size:]
