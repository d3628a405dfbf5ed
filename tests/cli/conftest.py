"""A pipeline that paints flat colours in no time, and the command line run in this process."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sfumato.cli import engine, main


@dataclass(frozen=True)
class Defaults:
    """A model's own way of painting."""

    steps: int = 4
    guidance: float = 6.5
    sampler: str = "dpmpp_2m"

    def schedule_for(self, sampler: str | None) -> str | None:
        return "sgm_uniform" if sampler is None else None


@dataclass
class FakePipeline:
    """Keeps what it was asked for; picture i of a call is as bright as its seed."""

    checkpoint: Defaults = Defaults()
    img_width: int = 16
    img_height: int = 8
    calls: list[dict[str, Any]] = field(default_factory=list)
    quantized: str | None = None
    on_step: Any = None  # called with the event before the command's own callback

    def quantize(self, mode):
        self.quantized = mode

    def text_to_image(self, prompt, **options):
        self.calls.append({"prompt": prompt, **options})
        for step in range(1, options["num_steps"] + 1):
            event = SimpleNamespace(step=step, steps=options["num_steps"])
            if self.on_step:
                self.on_step(event)
            options["on_step"](event)
        brightness = (options["seed"] + np.arange(options["batch_size"])) % 256
        shape = (options["batch_size"], self.img_height, self.img_width, 3)
        return np.broadcast_to(brightness[:, None, None, None], shape).astype("uint8")


@pytest.fixture
def pipeline(monkeypatch):
    """The fake in place of a real model; `pipeline.loaded` says with what it was loaded."""
    fake = FakePipeline()

    def load(model, size, dtype):
        fake.loaded = (model, size, dtype)
        if isinstance(size, tuple):
            fake.img_width, fake.img_height = size
        return fake

    monkeypatch.setattr(engine, "load_pipeline", load)
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
