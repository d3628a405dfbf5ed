"""The server's painters on a Ray cluster: the door, the queue and the history stay where they are.

Ray Serve keeps as many replicas as there is work for, each with a device and models of its own. In
the server a thread stands for each of them: it gives a batch to a replica that is free, and waits
in front of Ray Serve while there is none, which lets that start another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from sfumato._backend import import_keras
from sfumato.picture import Picture
from sfumato.request import Request
from sfumato.scale import cluster
from sfumato.server.failures import ElsewhereError, Trouble
from sfumato.server.models import Diffusion, Models, Painter
from sfumato.server.service import Service
from sfumato.server.settings import Served, Settings

if TYPE_CHECKING:
    from sfumato.generation import Step

NAME = "sfumato"
RETRIES = 2
"""Replicas that a batch may take with it before it fails."""
PATIENCE = 2.0
"""Seconds of waiting requests after which Ray Serve starts another replica."""


class Replica:
    """A process with a device, which paints one batch at a time.

    Args:
        settings: what `Settings` needs to know to load the models, each by its `key_of`.
        open_model: opens one.
    """

    def __init__(self, settings: dict[str, Any], open_model: Callable[[Served], Painter]) -> None:
        self.models = Models(Settings(**settings), open_model)
        self.thread = ThreadPoolExecutor(1, "sfumato-painter")  # the only one on the device

    async def paint(
        self, name: str, requests: Sequence[Request]
    ) -> AsyncIterator[Step | Picture | Trouble]:
        """The events of a batch; the last may be the reason why there are no more."""
        run = asyncio.get_running_loop().run_in_executor
        events = self._events(name, requests)
        try:
            while (event := await run(self.thread, next, events, None)) is not None:
                yield event
        finally:  # it was cancelled, or is done
            self.thread.submit(events.close)

    def _events(
        self, name: str, requests: Sequence[Request]
    ) -> Generator[Step | Picture | Trouble]:
        try:
            model = self.models.use(name)
            self.models.unload_idle()
            for event in model.stream(requests):
                yield event if isinstance(event, Picture) else event.plain()
            self.models.done(name)
        except Exception as error:  # noqa: BLE001  whatever a backend raises: it may not travel
            trouble = Trouble.of(error)
            if trouble.failure.code == "out_of_memory":
                self.models.unload_others(name)
            yield trouble


class Remote:
    """A model that replicas paint with; here, the headers of its files are read and no more.

    Args:
        handle: of the replicas.
        name: the `key_of` the model.
        headers: the model, which never paints.
    """

    def __init__(self, handle: Any, name: str, headers: Painter) -> None:
        self.handle, self.name, self.headers = handle, name, headers

    def completed(self, request: Request) -> Request:
        return self.headers.completed(request)

    def facts(self) -> dict[str, Any]:
        return self.headers.facts()

    def stream(self, requests: Sequence[Request]) -> Generator[Step | Picture]:
        """Paint; if a replica dies, another one paints what is left."""
        from ray.exceptions import RayError

        left = [single for request in requests for single in request.batches(1)]
        for tries in range(RETRIES + 1):
            try:
                for event in self._events(left):
                    if isinstance(event, Picture):
                        left = left[1:]
                    yield event
                return
            except RayError:
                if tries == RETRIES:
                    raise

    def _events(self, requests: Sequence[Request]) -> Iterator[Step | Picture]:
        answer = self.handle.options(stream=True).paint.remote(self.name, requests)
        try:
            for event in answer:
                if isinstance(event, Trouble):
                    raise ElsewhereError(event)
                yield event
        finally:
            answer.cancel()

    def unload(self) -> None:
        """Nothing is here; replicas unload by themselves."""

    def size(self) -> int:
        return 0


def key_of(served: Served) -> str:
    """The name of a model among all processes: where it is and how it is loaded."""
    return served.model_dump_json()


def deploy(settings: Settings, workers: int, open_model: Callable[[Served], Painter]) -> Any:
    """Start the deployment, or replace an older one; returns its handle."""
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    models = [
        each.model_copy(update={"dtype": each.dtype or settings.dtype})
        for each in settings.models.values()
    ]
    known = {"keep_alive": settings.keep_alive, "memory": settings.memory}
    known["models"] = {key_of(each): each.model_dump() for each in models}
    serve.start(proxy_location="Disabled")
    deployment: Any = serve.deployment(
        Replica,
        name="painter",
        max_ongoing_requests=1,
        autoscaling_config={
            "min_replicas": 1,
            "max_replicas": workers,
            "target_ongoing_requests": 1,
            "upscale_delay_s": PATIENCE,
        },
        ray_actor_options=cluster.device(),
    )
    app = deployment.bind(known, open_model)
    return serve.run(app, name=NAME, route_prefix=None)


@contextmanager
def painting_service(
    settings: Settings, open_model: Callable[[Served], Painter] = Diffusion
) -> Iterator[Service]:
    """A service whose pictures are painted by the cluster that the settings name.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: there is no cluster.
    """
    workers = cluster.connect(settings.ray or cluster.LOCAL, settings.workers)
    import_keras(alone=True)  # not before: Ray forks, which JAX does not like
    handle = deploy(settings, workers, open_model)

    # The threads share it.
    opened: Any = cache(lambda served: Remote(handle, key_of(served), open_model(served)))
    shelves = [Models(settings, opened, lambda: float("inf")) for _ in range(workers)]
    try:
        yield Service(settings, shelves)
    finally:
        from ray import serve

        serve.delete(NAME)
