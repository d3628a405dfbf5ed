"""Jobs: a request on its way, its states, and the events that those who wait for it read.

    queued -> running -> done | failed | cancelled

A state is never left backwards: the first end of a job is its end. Events have numbers that grow.
Of the steps only the newest is kept, so a reader who is slow misses steps and nothing else.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sfumato.request.batches import key_of
from sfumato.server.failures import Failure

if TYPE_CHECKING:
    from sfumato.request import Request

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
ENDS = (DONE, FAILED, CANCELLED)


@dataclass(frozen=True)
class Event:
    """Something that happened to a job."""

    number: int
    name: str
    data: dict[str, Any]


@dataclass(eq=False)
class Job:
    """One request on its way. Any thread may read it and end it; its worker moves it on.

    Attributes:
        request: completed by the model.
        model: the served name.
        client: whose turn it takes in the queue.
        deadline: time of the clock (`time.time`) at which it fails.
        asked: the request as JSON for the history.
    """

    request: Request
    model: str
    client: str = ""
    deadline: float = float("inf")
    asked: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: float = field(default_factory=time.time)
    state: str = QUEUED
    failure: Failure | None = None
    pictures: list[dict[str, Any]] = field(default_factory=list)
    started: float | None = None
    finished: float | None = None
    step: dict[str, Any] | None = None
    """The newest step: "step", "steps", "pictures" (their places), and a "preview" if wanted."""
    record: Callable[[dict[str, Any]], None] = lambda facts: None
    """Keeps the facts of the job when it ends."""
    wants_previews: bool = False
    skipped: set[int] = field(default_factory=set)
    """The places of pictures that are left out."""
    partials: int = 0
    """Previews on the way that are kept as events of their own."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._count = 0
        self._is_ending = False
        self._listeners: set[Callable[[], None]] = set()
        self.publish(QUEUED, {})

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """Jobs of one key may be painted together."""
        return (self.model, *key_of(self.request))

    @property
    def has_ended(self) -> bool:
        return self.state in ENDS

    @property
    def progress(self) -> float:
        """The part that is done, 0 to 1."""
        if self.state == DONE:
            return 1.0
        made = {picture["place"] for picture in self.pictures} | self.skipped
        done = float(len(made))
        if step := self.step:
            done += len({*step["pictures"]} - made) * step["step"] / step["steps"]
        return done / self.request.count

    def is_partial(self, step: int, steps: int) -> bool:
        """Whether the preview of a step is one of the `partials`, which are evenly spread."""
        parts = self.partials + 1
        return step < steps and step * parts // steps > (step - 1) * parts // steps

    # The worker's

    def start(self) -> None:
        with self._lock:
            if self.state != QUEUED or self._is_ending:
                return
            self.state, self.started = RUNNING, time.time()
        self.publish("started", {})

    def report(self, step: dict[str, Any]) -> None:
        """Tell of a step."""
        self.step = step
        self.publish("step", step)
        if self.is_partial(step["step"], step["steps"]):
            self.publish("partial", step)

    def keep(self, picture: dict[str, Any]) -> None:
        """Tell of a picture that is made."""
        with self._lock:
            if self._is_ending:
                return
            self.pictures.append(picture)
        self.publish("picture", picture)

    def skip(self) -> None:
        """Leave out the pictures that are painted now, and go on with the next."""
        if step := self.step:
            self.skipped.update(step["pictures"])

    # The end

    def end(self, state: str, failure: Failure | None = None) -> bool:
        """End the job, unless it has ended; whether this was its end."""
        with self._lock:
            if self._is_ending:
                return False
            self._is_ending = True
        self.failure, self.finished, self.step = failure, time.time(), None
        self._let_go()
        self.record(self.to_json() | {"state": state})  # before anybody is told
        self.state = state
        self.publish(state, {} if failure is None else {"error": failure.to_json()})
        return True

    def _let_go(self) -> None:
        """Keep no pictures of what has ended: many such jobs are remembered."""
        request = self.request
        if request.image is not None or request.controls or request.image_prompts:
            self.request = request.changed(image=None, mask=None, controls=(), image_prompts=())

    def fail(self, code: str) -> bool:
        return self.end(FAILED, Failure.named(code))

    def cancel(self) -> bool:
        return self.end(CANCELLED, Failure.named("cancelled"))

    # The readers'

    def publish(self, name: str, data: dict[str, Any]) -> None:
        """Add an event and wake those who wait; nothing follows the end."""
        with self._lock:
            if self._events and self._events[-1].name in ENDS:
                return
            if name == "step":
                self._events = [event for event in self._events if event.name != "step"]
            self._count += 1
            self._events.append(Event(self._count, name, data))
            listeners = [*self._listeners]
        for wake in listeners:
            wake()

    def since(self, number: int) -> list[Event]:
        """The events after that of a number."""
        with self._lock:
            return [event for event in self._events if event.number > number]

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call a function after each event, on any thread; returns how to stop it."""
        with self._lock:
            self._listeners.add(wake)
        return lambda: self._listeners.discard(wake)

    def wait(self, seconds: float) -> bool:
        """Wait for the end; whether it came."""
        happened = threading.Event()
        stop = self.listen(happened.set)
        until = time.monotonic() + seconds
        try:
            while not self.has_ended and (left := until - time.monotonic()) > 0:
                happened.wait(left)
                happened.clear()
        finally:
            stop()
        return self.has_ended

    def finish(self) -> None:
        """End a job whose work is done: well if there is anything of it."""
        if self.pictures:
            self.end(DONE)
        else:
            self.cancel()  # all was skipped

    def to_json(self) -> dict[str, Any]:
        """The job as the native API tells it."""
        facts: dict[str, Any] = {
            "id": self.id,
            "state": self.state,
            "model": self.model,
            "created": self.created,
            "started": self.started,
            "finished": self.finished,
            "progress": round(self.progress, 4),
            "request": self.asked,
            "pictures": [*self.pictures],
        }
        return facts | ({} if self.failure is None else {"error": self.failure.to_json()})


@dataclass(eq=False)
class Errand(Job):
    """Work of a device that is no painting, such as enlarging; it takes its turn like a job.

    Attributes:
        work: is called by the worker.
        result: of that.
    """

    work: Callable[[], Any] = lambda: None
    result: Any = None

    @cached_property
    def key(self) -> tuple[Any, ...]:
        return (self.id,)

    def finish(self) -> None:
        self.end(DONE)
