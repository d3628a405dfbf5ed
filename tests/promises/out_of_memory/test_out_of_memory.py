"""Out of memory, a batch is painted in smaller ones, other models go, and the server lives on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fake_painters import Studio

from sfumato.request import Request


def ask(prompt: str = "a red apple", **fields: Any) -> Request:
    return Request(**{"prompt": prompt, "seed": 1, "steps": 3} | fields)


def test_a_batch_that_is_too_large_is_painted_in_smaller_ones(open_studio: Callable[..., Studio]):
    studio = open_studio(batch=4)
    job = studio.service.submit(ask(count=4, seed=0))

    def trouble(requests):
        if len(requests) > 1:
            raise MemoryError

    studio.painter.trouble = trouble
    studio.service.start()
    assert job.wait(10)
    assert job.state == "done"
    assert studio.painter.batches[-4:] != [[0, 1, 2, 3]]
    assert [picture["seed"] for picture in job.pictures] == [0, 1, 2, 3]


def test_other_models_go_when_there_is_too_little_memory(open_studio: Callable[..., Studio]):
    studio = open_studio(models=["fake=mini", "other=mini-turbo"])
    studio.service.start()
    assert studio.service.submit(ask(), model="other").wait(10)
    assert studio.models.loaded == ["other"]

    def trouble(requests):
        if "other" in studio.models.loaded:
            raise MemoryError

    studio.painter.trouble = trouble
    job = studio.service.submit(ask())
    assert job.wait(10)
    assert (job.state, studio.models.loaded) == ("done", ["fake"])
