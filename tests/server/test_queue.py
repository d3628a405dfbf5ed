"""The queue: bounded, fair, in batches of one shape."""

from __future__ import annotations

import threading
import time

import pytest

from fake_models import FakeSettings
from sfumato.request import Request
from sfumato.server.jobs import Job
from sfumato.server.queue import ClosedError, Queue, QueueFullError


def job(client: str = "a", model: str = "fake", deadline: float = float("inf"), **fields) -> Job:
    request = Request(**{"prompt": "a red apple", "seed": 1} | fields)
    return Job(request.completed(FakeSettings()), model, client, deadline)  # type: ignore[arg-type]


def test_a_full_queue_refuses():
    queue = Queue(2)
    for _ in range(2):
        queue.put(job())
    with pytest.raises(QueueFullError):
        queue.put(job(client="b"))
    queue.take(1, 0)
    queue.put(job())
    assert len(queue) == 2


def test_clients_take_turns():
    queue = Queue(9)
    jobs = [job("a", seed=i) for i in range(3)] + [job("b", seed=3), job("c", seed=4)]
    for each in jobs:
        queue.put(each)
    assert [queue.position(each) for each in jobs] == [0, 3, 4, 1, 2]
    taken = [queue.take(1, 0) for _ in jobs]
    assert [batch[0].request.seed for batch in taken if batch] == [0, 3, 4, 1, 2]


def test_a_newcomer_waits_for_one_job_of_each_other_client():
    queue = Queue(9)
    for i in range(4):
        queue.put(job("a", seed=i))
    queue.take(1, 0)
    late = job("b")
    queue.put(late)
    assert queue.position(late) == 1
    queue.take(1, 0)
    assert queue.take(1, 0) == [late]


def test_requests_of_one_shape_are_taken_together_and_no_others():
    queue = Queue(9)
    alike = [job("a"), job("a", prompt="a tree", seed=9), job("b", count=2)]
    others = [job("a", steps=7), job("c", width=32), job("b", model="other"), job("c", guidance=1)]
    for each in [alike[0], others[0], alike[1], others[1], alike[2], others[2], others[3]]:
        queue.put(each)
    assert set(queue.take(8, 0) or []) == {*alike}
    assert [len(queue.take(8, 0) or []) for _ in others] == [1] * 4


def test_a_batch_has_at_most_so_many_pictures():
    queue = Queue(9)
    for count in (2, 3, 1, 1):
        queue.put(job(count=count))
    assert [each.request.count for each in queue.take(4, 0) or []] == [2, 1, 1]
    assert [each.request.count for each in queue.take(4, 0) or []] == [3]
    queue.put(job(count=9))  # more than fits: it is painted in parts
    assert len(queue.take(4, 0) or []) == 1


def test_a_batch_waits_for_those_that_come_soon():
    queue = Queue(9, wait=5)
    queue.put(job())
    threading.Timer(0.05, lambda: queue.put(job("b"))).start()
    start = time.monotonic()
    assert len(queue.take(2, 0) or []) == 2
    assert time.monotonic() - start < 4  # a full batch waits no longer


def test_cancelled_and_late_jobs_are_not_given_out():
    queue = Queue(9)
    jobs = [job(), job("b"), job("c", deadline=time.time() - 1), job("d")]
    for each in jobs:
        queue.put(each)
    jobs[0].cancel()
    queue.remove(jobs[1])
    queue.expire(time.time())
    assert jobs[2].failure is not None
    assert jobs[2].failure.code == "deadline"
    assert queue.take(1, 0) == [jobs[3]]
    assert queue.take(1, 0) == []


def test_a_closed_queue_is_emptied_and_then_ends():
    queue = Queue(9)
    queue.put(job())
    queue.close()
    with pytest.raises(ClosedError):
        queue.put(job())
    assert len(queue.take(1, 5) or []) == 1
    assert queue.take(1, 5) is None
