"""A painter of the server for replicas: no network, and pictures that say who painted them."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fake_rows import pixels_of

from fake_models import FakeSettings
from sfumato.picture import Picture
from sfumato.request import Request
from sfumato.server.settings import Served

PACE = 0.05


@dataclass(frozen=True)
class FakeStep:
    step: int
    steps: int
    denoised: np.ndarray

    def plain(self) -> FakeStep:
        return self

    def preview(self) -> np.ndarray:
        return self.denoised[..., :3].astype("uint8")


class DistantPainter:
    """Notes each step in a file; a picture's flag is the process that made it."""

    def __init__(self, served: Served) -> None:
        self.notes = Path(served.source)

    def completed(self, request: Request) -> Request:
        return request.completed(FakeSettings())  # type: ignore[arg-type]

    def stream(self, requests: Sequence[Request]) -> Generator[Any]:
        if "memory" in requests[0].prompt:
            raise MemoryError("9 GB")
        steps = requests[0].steps or 1
        for step in range(1, steps + 1):
            time.sleep(4 * PACE if "endless" in requests[0].prompt else PACE)
            with self.notes.open("a") as file:
                file.write(f"{os.getpid()} {requests[0].prompt}\n")
            yield FakeStep(step, steps, np.full((len(requests), 2, 2, 4), step, "float32"))
        for request in requests:
            yield Picture(pixels_of(request), request, (f"{os.getpid()}",))

    def unload(self) -> None:
        pass

    def size(self) -> int:
        return 100

    def facts(self) -> dict[str, Any]:
        return {"model": "fake", "size": 16, "steps": 4}
