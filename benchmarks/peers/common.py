"""What every runner shares: the case, a clock that the device is synchronised with, memory."""

from __future__ import annotations

import gc
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

PROMPT = "a photograph of an astronaut riding a horse"


@dataclass(frozen=True)
class Case:
    """What to make: pictures of a size in a batch with a model in a precision."""

    model: str
    folder: str
    size: int = 512
    batch: int = 1
    steps: int = 25
    dtype: str = "float32"
    jit_compile: bool = True


class Clock:
    """Durations of named parts, call by call."""

    def __init__(self, synchronise: Callable[[], None]) -> None:
        self.synchronise = synchronise
        self.calls: dict[str, list[float]] = {}

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, timed under ``name`` with the device synchronised at both ends."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            self.synchronise()
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self.synchronise()
            self.calls.setdefault(name, []).append(time.perf_counter() - start)
            return result

        return timed


class Runner:
    """One peer in one process. Methods are called by name from another process; JSON in and out."""

    case: Case
    clock: Clock
    _step: Callable[[], None] | None = None

    # What a peer brings

    def load_libraries(self) -> None:
        raise NotImplementedError

    def load_model(self) -> None:
        raise NotImplementedError

    def prepare_step(self) -> Callable[[], None]:
        """A function that starts one guided step, the sampler's part included."""
        raise NotImplementedError

    def prepare_loop(self, steps: int) -> Callable[[], None]:
        """A function that starts that many guided steps in one program."""
        raise NotImplementedError

    def prepare_placed(self, steps: int) -> Callable[[], None]:
        """A function that starts that many guided steps with weights in the compiler's layout."""
        raise NotImplementedError

    def make_pictures(self) -> Any:
        """uint8 (B, H, W, 3)"""
        raise NotImplementedError

    def synchronise(self) -> None:
        """Wait for the device."""

    def device_memory(self) -> int | None:
        """The most bytes of the accelerator that were ever in use; None without accelerator."""
        return None

    def watch(self) -> None:
        """Have ``self.clock`` time the parts of a picture."""

    # What the suites ask for

    def load(self, **case: Any) -> dict[str, Any]:
        """Import the libraries and make the model: the seconds of both."""
        self.case = Case(**case)
        start = time.perf_counter()
        self.load_libraries()
        imported = time.perf_counter()
        self.load_model()
        self.synchronise()
        return {"import": imported - start, "load": time.perf_counter() - imported}

    def change(self, **case: Any) -> None:
        """Another batch or another number of steps of the same model."""
        self.case = Case(**case)
        self._step = None

    def step(self, times: int = 1) -> float:
        """Seconds of one guided step, of ``times`` that are sent without waiting in between."""
        if self._step is None:
            self._step = self.prepare_step()
        step = self._step

        def steps() -> None:
            for _ in range(times):
                step()

        return self._time(steps) / times

    def loop(self, times: int) -> float:
        """Seconds of one guided step, of ``times`` in one program."""
        if self._step is None:
            self._step = self.prepare_loop(times)
        return self._time(self._step) / times

    def placed(self, times: int) -> float:
        """Seconds of one guided step with weights in the layout that the compiler chooses."""
        if self._step is None:
            self._step = self.prepare_placed(times)
        return self._time(self._step) / times

    def picture(self) -> float:
        """Seconds of one call for pictures."""
        return self._time(self._checked_pictures)

    def first_pictures(self) -> dict[str, Any]:
        """The seconds of the first and of a second call, and of the parts of the first.

        ``later``: the median seconds of each part in the second call, when nothing is new any more.
        """
        self.clock = Clock(self.synchronise)
        self.watch()
        start = time.perf_counter()
        self._checked_pictures()
        first = time.perf_counter() - start
        calls = {name: list(values) for name, values in self.clock.calls.items()}
        start = time.perf_counter()
        self._checked_pictures()
        second = time.perf_counter() - start
        later = {name: self.clock.calls[name][len(values) :] for name, values in calls.items()}
        later = {n: median(v) if v else None for n, v in later.items()}
        return {"first": first, "second": second, "calls": calls, "later": later}

    def memory(self) -> dict[str, int | None]:
        return {"host": peak_memory(), "device": self.device_memory()}

    def _checked_pictures(self) -> None:
        pictures = self.make_pictures()
        shape = (self.case.batch, self.case.size, self.case.size, 3)
        if pictures.shape != shape or pictures.dtype != "uint8":
            raise ValueError(f"Expected uint8 {shape}. Received: {pictures.dtype} {pictures.shape}")

    def _time(self, function: Callable[[], Any]) -> float:
        gc.collect()
        self.synchronise()
        start = time.perf_counter()
        function()
        self.synchronise()
        return time.perf_counter() - start


def peak_memory() -> int:
    """The most resident bytes that this process ever had, memory-mapped files included."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
