"""The models of a server by name: opened when first named, loaded when first painted with.

Opening reads the headers of files, to complete and check requests; any thread may do it. Loading,
painting and unloading are for the thread that owns the device.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Protocol

from sfumato import presets
from sfumato.request import Request, RequestError
from sfumato.server.settings import GIB, Served, Settings

if TYPE_CHECKING:
    from sfumato.generation import Step
    from sfumato.picture import Picture

log = logging.getLogger(__name__)

WORKING = GIB
"""Bytes that painting needs besides the weights, roughly."""


class Painter(Protocol):
    """One model as the server uses it."""

    def completed(self, request: Request) -> Request:
        """The request with nothing left open; RequestError if the model cannot do it."""
        ...

    def stream(self, requests: Sequence[Request]) -> Generator[Step | Picture]:
        """Paint completed requests of one ``batch_key``; loads what is not loaded."""
        ...

    def unload(self) -> None:
        """Give the memory back; the next ``stream`` loads again."""
        ...

    def size(self) -> int:
        """Bytes that the loaded model takes."""
        ...

    def facts(self) -> dict[str, Any]:
        """What a client may want to know of the model."""
        ...


class Diffusion:
    """A model of the library as a `Painter`."""

    def __init__(self, served: Served) -> None:
        from sfumato.stable_diffusion import StableDiffusion

        self.served = served
        open_ = StableDiffusion.from_preset
        given: dict[str, Any] = {"prediction": served.prediction, "decoder": served.decoder}
        self.model = open_(served.source, dtype=served.dtype, **given)

    def completed(self, request: Request) -> Request:
        return self.model.completed(request)

    def stream(self, requests: Sequence[Request]) -> Generator[Step | Picture]:
        from sfumato import generation

        yield from generation.stream(self.model.parts, requests)

    def unload(self) -> None:
        from sfumato.parts import Parts

        self.model.parts = Parts(self.model.model, dtype=self.served.dtype)

    def size(self) -> int:
        policy = self.model.parts.dtype_policy
        dtypes = {policy.variable_dtype, policy.compute_dtype}  # mixed: weights in both
        each = sum(4 if dtype == "float32" else 2 for dtype in dtypes)
        parts = self.model.model.checkpoint.parts.values()
        return each * sum(tensor.size for part in parts for tensor in part.values())

    def facts(self) -> dict[str, Any]:
        model = self.model.model
        return {
            "model": model.name,
            "family": model.family.name,
            "size": model.default_size,
            "steps": model.steps,
            "guidance": model.guidance,
            "sampler": model.sampler,
            "inpainting": model.sees_masks,
        }


class Models:
    """The models that are served.

    Args:
        settings: name them, and say how many may stay for how long.
        open_model: opens one.
        free: bytes that the device has left.
        device: of JAX, where there are several; None: the only one.
    """

    def __init__(
        self,
        settings: Settings,
        open_model: Callable[[Served], Painter] = Diffusion,
        free: Callable[[], float] | None = None,
        device: Any = None,
    ) -> None:
        self.settings, self._open, self.device = settings, open_model, device
        self._free = free or partial(free_bytes, device)
        self._opened: dict[str, Painter] = {}
        self._locks = {name: threading.Lock() for name in settings.models}
        self._used: dict[str, float] = {}  # of those loaded, the time; the latest is last

    def find(self, name: str | None) -> str:
        """The served model that a client means; None: the default.

        A client may also say its source, an alias of the preset, or the file's name.

        Raises:
            RequestError: there is none.
        """
        if not name:
            return self.settings.default_model
        if name in self.settings.models:
            return name
        wanted = name.casefold().strip()
        for served, where in self.settings.models.items():
            preset = presets.find(where.source)
            names = {served, where.source, PurePath(where.source).name, PurePath(where.source).stem}
            names |= {preset.name, *preset.aliases} if preset else set()
            if wanted in map(str.casefold, names):
                return served
        must = f"be one of {', '.join(self.settings.models)}"
        raise RequestError.of("model", must, name[:100])

    def open(self, name: str) -> Painter:
        """The model of a served name, which reads no weights yet."""
        with self._locks[name]:
            if name not in self._opened:
                served = self.settings.models[name]
                if served.dtype is None:
                    served = served.model_copy(update={"dtype": self.settings.dtype})
                self._opened[name] = self._open(served)
            return self._opened[name]

    def facts(self, name: str) -> dict[str, Any]:
        """What a client may want to know of a model; "error" if its files cannot be read."""
        try:
            return self.open(name).facts()
        except (OSError, ValueError) as error:
            log.warning("%s cannot be opened: %s", name, error)
            return {"error": "unreadable"}

    def on_device(self) -> AbstractContextManager[Any]:
        """Let this thread compute on the device."""
        if self.device is None:
            return nullcontext()
        import jax

        return jax.default_device(self.device)

    @property
    def loaded(self) -> list[str]:
        """The names of the models that are loaded, the latest used last."""
        return [*self._used]

    def use(self, name: str) -> Painter:
        """The model to paint with now; others go if there is no room for it."""
        painter = self.open(name)
        if name not in self._used:
            self._make_room(painter.size())
            log.info("loading %s", name)
        self._used.pop(name, None)
        self._used[name] = time.monotonic()
        return painter

    def done(self, name: str) -> None:
        """Note that a model was used until now."""
        if name in self._used:
            self._used[name] = time.monotonic()

    def unload(self, name: str) -> None:
        """Unload one model."""
        if self._used.pop(name, None) is not None:
            log.info("unloading %s", name)
            self.open(name).unload()
            gc.collect()

    def unload_others(self, name: str) -> bool:
        """Unload all models but one; whether there were any."""
        others = [other for other in self._used if other != name]
        for other in others:
            self.unload(other)
        return bool(others)

    def unload_idle(self) -> None:
        """Unload the models that nobody used for `keep_alive` seconds."""
        patience = self.settings.keep_alive
        if patience >= 0:
            since = time.monotonic() - patience
            for name in [name for name, used in self._used.items() if used <= since]:
                self.unload(name)

    def _make_room(self, needed: int) -> None:
        """Unload models, the longest unused first, until another has room or none is left."""
        while self._used and not self._has_room(needed):
            self.unload(next(iter(self._used)))

    def _has_room(self, needed: int) -> bool:
        if self.settings.memory is None:
            return self._free() >= needed + WORKING
        taken = sum(self.open(name).size() for name in self._used)
        return taken + needed <= self.settings.memory * GIB


def devices() -> list[Any]:
    """The devices that each have models of their own; None stands for the only one."""
    import keras

    if keras.backend.backend() != "jax":
        return [None]
    import jax

    found = jax.local_devices()
    return [*found] if len(found) > 1 else [None]


def most_together(asked: int | None) -> int:
    """The pictures that may be painted together: as many as asked for, else as many as pay.

    OpenVINO keeps the executables of two sizes of a batch and would read others again and again: 16
    clients got a quarter of the pictures (`benchmarks server`).
    """
    import keras

    return asked or (1 if keras.backend.backend() == "openvino" else 4)


def free_bytes(device: Any = None) -> float:
    """Bytes that a device has left for models; None: the only one."""
    import keras
    import psutil

    if keras.backend.backend() == "jax":
        import jax

        if figures := (device or jax.local_devices()[0]).memory_stats():
            return figures["bytes_limit"] - figures["bytes_in_use"]
    if keras.backend.backend() == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.mem_get_info()[0]
    return psutil.virtual_memory().available
