"""The page made from records: all that was measured, and what was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.records import Log
from benchmarks.suites.cold import STAGES

CASE = {"model": "sd1.5", "size": 512, "batch": 1, "steps": 25, "dtype": "float32"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "records.jsonl"
    steps = Log(path, "step")
    steps("diffusers", "step", "s", [99.0], CASE, flops=1e9)
    values = {"flops": 200e9, "matmul": {"torch": 250e9}, "fraction": 0.8}
    steps("diffusers", "step", "s", [9.0, 9.5, 8.5], CASE, **values)
    steps("sfumato jax", "step", "s", [10.0], CASE, **values)
    for kind, seconds in (("convolution", 4.0), ("linear", 3.0), ("attention", 2.0), ("norm", 2.0)):
        steps("sfumato jax", f"kind {kind}", "s", [seconds], CASE)
    steps.failure("kerascv xla", "step", CASE, "MemoryError: none left")
    colds = Log(path, "cold")
    stages = {stage: float(i) for i, stage in enumerate(STAGES)}
    for mode in ("first time", "next time"):
        case = {**CASE, "cache": mode}
        colds("sfumato jax", "first picture", "s", [28.0], case, stages=stages)
        colds("sfumato jax", "second picture", "s", [12.0], case)
    Log(path, "step", tiny=True)("tried", "step", "s", [1.0], CASE, flops=1e9)
    return path


def page(file: Path, *more: str) -> str:
    out = file.parent / "docs" / "benchmarks.md"
    report.main([str(file), "--out", str(out), *more])
    return out.read_text()


def test_steps(file: Path) -> None:
    text = page(file)
    assert "| diffusers | sd1.5 | 512 | 1 | float32 | 9.00 ± 0.50 | 3 | 200 | 80 % |" in text
    assert "99" not in text  # the later measurement replaces the earlier
    assert "torch 250 GFLOP/s" in text
    assert "kerascv xla, step (sd1.5, 512x512, batch 1, 25 steps, float32): MemoryError" in text


def test_kinds_and_what_fusion_gains(file: Path) -> None:
    row = "| sfumato jax | 4.00 (40 %) | 3.00 (30 %) | 2.00 (20 %) | 2.00 (20 %) | -1.00 (-10 %) |"
    assert row in page(file)


def test_cold_start_with_its_plot(file: Path) -> None:
    text = page(file)
    assert "| sfumato jax | first time | 28.0 ± 0.0 | 1 | 0.0 | 1.0 | 2.0 |" in text
    assert "(images/cold.png)" in text
    image = file.parent / "docs" / "images" / "cold.png"
    assert image.read_bytes().startswith(b"\x89PNG")


def test_trials_are_left_out_unless_asked_for(file: Path) -> None:
    assert "tried" not in page(file)
    assert "tried" in page(file, "--tiny")


def test_the_machine_is_named(file: Path) -> None:
    text = page(file)
    assert "cores" in text
    assert "keras 3." in text


def test_a_repeated_measurement_replaces_the_first() -> None:
    first: dict[str, Any] = {"suite": "step", "peer": "a", "metric": "step", "case": {}, "n": 1}
    assert report.latest([first, {**first, "n": 2}]) == [{**first, "n": 2}]
