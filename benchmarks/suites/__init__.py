"""What is measured: a module for each suite, with ``run(plan, log)``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SUITES = (
    *("guide", "step", "cold", "memory", "scale", "mini", "int8", "fewer", "lora"),
    *("server", "cluster", "cpu", "gpu"),
)
LEAST = 20  # seconds without which nothing is begun


class Deadline:
    """How much time is left.

    Args:
        minutes: until the end, or None where there is none.
        clock: seconds.
        hard: whether what has begun is stopped at the end, too.
    """

    def __init__(
        self,
        minutes: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        hard: bool = False,
    ) -> None:
        self.clock = clock
        self.hard = hard
        self.end = None if minutes is None else clock() + 60 * minutes

    def left(self) -> float | None:
        return None if self.end is None else self.end - self.clock()

    def timeout(self) -> float | None:
        """Seconds after which something that begins now is stopped."""
        return self.left() if self.hard else None

    def is_over(self) -> bool:
        return not self.has(LEAST)

    def has(self, seconds: float) -> bool:
        """Whether something that takes so long would end in time."""
        left = self.left()
        return left is None or left >= seconds


@dataclass(frozen=True)
class Plan:
    """What the command line asks for.

    Attributes:
        tiny: use a model that is too small to say anything, to try the harness.
        repeats: timed rounds.
        peers: comma-separated names, or None for all that are installed.
        model: name of the model, or None for the suite's own choice.
        size: of the pictures in pixels, or None for the model's.
        batch: pictures at a time.
        steps: of a picture, or None for the suite's own choice.
        dtype: of weights and computation.
        minutes: after which no new measurement begins, or None.
        parts: comma-separated parts of the cpu or gpu suite, or None for all.
    """

    tiny: bool = False
    repeats: int = 5
    peers: str | None = None
    model: str | None = None
    size: int | None = None
    batch: int = 1
    steps: int | None = None
    dtype: str = "float32"
    minutes: float | None = None
    parts: str | None = None

    def case(self, **changes: Any) -> dict[str, Any]:
        """The arguments of ``peers.common.Case``, with the checkpoint written if it is missing."""
        from benchmarks.models import MODELS, checkpoint

        name = changes.get("model") or self.model or "sd1.5"
        if self.tiny:
            name = "tiny-xl" if MODELS[name].is_xl else "tiny"
        case = {
            "size": MODELS[name].size if self.tiny else self.size or MODELS[name].size,
            "batch": self.batch,
            "steps": self.steps or 25,
            "dtype": self.dtype,
            **changes,
        }
        if self.tiny:
            case["size"] = changes.get("size", 512) // 8 if "size" in changes else case["size"]
        return case | {"model": name, "folder": str(checkpoint(name))}


def shown(case: dict[str, Any]) -> dict[str, Any]:
    """A case as it is recorded: without the place of the checkpoint."""
    return {key: value for key, value in case.items() if key != "folder"}
