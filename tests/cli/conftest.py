"""A model that paints flat colours in no time, and the command line run in this process."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fake_models import FakeSettings
from sfumato.cli import generate, main
from sfumato.picture import Picture
from sfumato.request import Request


@dataclass(frozen=True)
class FakeStep:
    step: int
    steps: int
    images: np.ndarray | None

    def preview(self) -> np.ndarray | None:
        return self.images


@dataclass
class FakeModel:
    """Keeps what it was asked for; picture i of a request is as bright as its seed."""

    model: FakeSettings = field(default_factory=FakeSettings)
    loaded: list[tuple[Any, ...]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    quantized: str | None = None
    on_step: Any = None  # called with each step
    has_previews: bool = True
    prediction: str | None = None
    flags: tuple[str, ...] = ()  # of each picture

    def quantize(self, mode):
        self.quantized = mode

    def stream(self, request):
        assert request.completed(self.model) == request
        self.requests.append(request)
        h, w = request.height // 8, request.width // 8
        for step in range(1, request.steps + 1):
            shades = 10 * step + 5 * np.arange(request.count, dtype=np.uint8)
            images = np.broadcast_to(shades[:, None, None, None], (request.count, h, w, 3))
            event = FakeStep(step, request.steps, images if self.has_previews else None)
            if self.on_step:
                self.on_step(event)
            yield event
        for single in request.singles():
            shape = (request.height, request.width, 3)
            yield Picture(np.full(shape, single.seed % 256, np.uint8), single, self.flags)


@pytest.fixture
def model(monkeypatch):
    """The fake in place of a real model."""
    fake = FakeModel()

    def open_model(name, dtype, *size, prediction=None):
        fake.prediction = prediction
        fake.loaded.append((name, dtype, *size))
        return fake

    monkeypatch.setattr(generate, "open_model", open_model)
    return fake


@pytest.fixture
def sfumato(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder: `sfumato("info", "x.png")` -> its code, what it wrote
    to stdout and stderr, and all files that are in the folder then."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SFUMATO_DEBUG", raising=False)

    def run(*arguments: str) -> SimpleNamespace:
        code = main(arguments)
        out, err = capsys.readouterr()
        files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
        return SimpleNamespace(code=code, out=out, err=err, lines=out.splitlines(), files=files)

    return run
