"""A model that paints without a network, in processes that may be killed, and notes its batches."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fake_models import FakeSettings
from sfumato.opening import Opened
from sfumato.picture import Picture
from sfumato.request import Request
from sfumato.scale.batch import Batch


@dataclass
class FakeModel:
    """Each process notes its batches, as prompts, in a file of its own.

    Of what a prompt says "fail" cannot be painted, "die" ends the process, "slowly" takes a moment,
    and "together" waits for another process.
    """

    notes: Path
    model: Any = field(default_factory=FakeSettings)

    def stream(self, requests: Sequence[Request]) -> Iterator[Picture]:
        words = [request.prompt for request in requests]
        with (self.notes / f"{os.getpid()}").open("a") as file:
            file.write(json.dumps(words) + "\n")
        while "together" in words[0] and len([*self.notes.iterdir()]) < 2:
            time.sleep(0.02)
        if any("die" in each for each in words):
            os._exit(9)
        if any("fail" in each for each in words):
            raise ArithmeticError("a number overflowed")
        for single in [single for request in requests for single in request.singles()]:
            time.sleep(0.1 if "slowly" in single.prompt else 0)
            flags = ("it is blue",) if "blue" in single.prompt else ()
            yield Picture(pixels_of(single), single, flags)


def pixels_of(request: Request) -> np.ndarray:
    """The picture of a request: one colour."""
    colour = zlib.crc32(repr((request.prompt, request.seed)).encode()).to_bytes(4, "big")[:3]
    size = (request.height or 16, request.width or 16, 3)
    return np.broadcast_to(np.frombuffer(colour, "uint8"), size).copy()


def open_fake(notes: Path) -> Opened:
    return Opened(lambda *names: FakeModel(notes))  # type: ignore[arg-type, return-value]


def batch_of(folder: Path, table: Path, **given: Any) -> Batch:
    """A table that fakes paint into `folder / "out"`."""
    notes = folder / "notes"
    notes.mkdir(exist_ok=True)
    return Batch(table, folder / "out", opened=partial(open_fake, notes), **given)


def painted(folder: Path) -> list[list[str]]:
    """The batches of all processes."""
    files = sorted((folder / "notes").iterdir())
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
