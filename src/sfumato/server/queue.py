"""The queue: bounded, fair to its clients, and read in batches of what can be painted together."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator

from sfumato.server.jobs import Job


class QueueFullError(Exception):
    """So many requests are waiting that no other may."""


class ClosedError(Exception):
    """The server takes no more requests."""


class Queue:
    """Jobs that wait for a worker. Any thread may use it.

    Clients take turns, so that who asks for a hundred pictures does not keep another waiting for
    all of them; a client's own jobs come in their order.

    Args:
        most: jobs that may wait.
        wait: seconds in which others may join a job that found the worker idle.
    """

    def __init__(self, most: int, wait: float = 0.0) -> None:
        self.most, self.wait = most, wait
        self._clients: OrderedDict[str, deque[Job]] = OrderedDict()  # whose turn is next is first
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return self._length()

    def put(self, job: Job) -> None:
        """Let a job wait.

        Raises:
            QueueFullError: too many wait already.
            ClosedError: the queue was closed.
        """
        with self._changed:
            if self._closed:
                raise ClosedError
            if self._length() >= self.most:
                raise QueueFullError
            self._clients.setdefault(job.client, deque()).append(job)
            self._changed.notify_all()

    def take(self, most: int, seconds: float) -> list[Job] | None:
        """The next job and those that can be painted with it, up to ``most`` pictures together.

        Returns:
            Nothing if no job came for so many seconds; None if the queue was closed and is empty.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or self._prune(), seconds):
                return []
            if not self._prune():
                return None
            first = self._next()
            batch, room = [first], most - first.request.count
            until = time.monotonic() + self.wait
            while True:
                room -= self._join(batch, room)
                left = until - time.monotonic()
                if room < 1 or left <= 0 or self._closed:
                    return batch
                self._changed.wait(left)

    def remove(self, job: Job) -> None:
        """Let a job wait no longer, if it does."""
        with self._changed:
            waiting = self._clients.get(job.client)
            if waiting and job in waiting:
                waiting.remove(job)
                self._prune()

    def expire(self, now: float) -> None:
        """Fail the jobs whose deadline has passed."""
        with self._changed:
            late = [job for job in self._in_order() if job.deadline <= now]
        for job in late:
            job.fail("deadline")
            self.remove(job)

    def position(self, job: Job) -> int | None:
        """How many jobs come before this one; None if it does not wait."""
        with self._changed:
            return next((n for n, each in enumerate(self._in_order()) if each is job), None)

    def close(self) -> None:
        """Take no more jobs; those that wait are still given out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self, code: str) -> None:
        """Fail all that wait."""
        with self._changed:
            waiting = [*self._in_order()]
            self._clients.clear()
            self._changed.notify_all()
        for job in waiting:
            job.fail(code)

    # With the lock

    def _length(self) -> int:
        return sum(map(len, self._clients.values()))

    def _prune(self) -> bool:
        """Forget jobs that have ended, and clients without any; whether any job waits."""
        for client, waiting in [*self._clients.items()]:
            if any(job.has_ended for job in waiting):
                self._clients[client] = deque(job for job in waiting if not job.has_ended)
            if not self._clients[client]:
                del self._clients[client]
        return bool(self._clients)

    def _next(self) -> Job:
        """Take the first job of the client whose turn it is, who then is last."""
        client, waiting = next(iter(self._clients.items()))
        self._clients.move_to_end(client)
        job = waiting.popleft()
        self._prune()
        return job

    def _join(self, batch: list[Job], room: int) -> int:
        """Take the jobs that can be painted with a batch; the number of their pictures."""
        taken = 0
        for job in self._in_order():
            if job.key == batch[0].key and job.request.count <= room - taken:
                self._clients[job.client].remove(job)
                batch.append(job)
                taken += job.request.count
        self._prune()
        return taken

    def _in_order(self) -> Iterator[Job]:
        """The jobs in the order in which they would be taken one by one."""
        rows = [[*waiting] for waiting in self._clients.values()]
        for turn in range(max(map(len, rows), default=0)):
            yield from (row[turn] for row in rows if turn < len(row))
