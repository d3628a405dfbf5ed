"""The page made from records: all that was measured, and what was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.records import Log
from benchmarks.suites.cold import STAGES
from benchmarks.suites.fewer import WAYS

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
    assert "torch 250 GFLOP/s" in " ".join(text.split())
    assert "kerascv xla, step (sd1.5, 512x512, batch 1, 25 steps, float32): MemoryError" in text


def test_pairs_that_took_turns(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    log = Log(path, "step")
    for second, ours, theirs in (("diffusers", 5.0, 8.0), ("sfumato jax", 6.0, 9.0)):
        case = {**CASE, "turns": f"sfumato openvino, {second}"}
        log("sfumato openvino", "step", "s", [ours], case, flops=1e9)
        log(second, "step", "s", [theirs], case, flops=1e9)
    text = page(path)
    assert "| sd1.5 | diffusers | 8.00 | sfumato openvino | 5.00 | 1.60 |" in text
    assert "| sd1.5 | sfumato jax | 9.00 | sfumato openvino | 6.00 | 1.50 |" in text
    assert text.count("| sfumato openvino | sd1.5 |") == 1  # the last


def test_kinds_and_what_fusion_gains(file: Path) -> None:
    row = "| sfumato jax | 4 (40 %) | 3 (30 %) | 2 (20 %) | 2 (20 %) | -1 (-10 %) |"
    assert row in page(file)


def test_cold_start_with_its_plot(file: Path) -> None:
    text = page(file)
    assert "| sfumato jax | first time | 28.0 | 1 | 0.0 | 1.0 | 2.0 |" in text
    assert "(images/cold.png)" in text
    image = file.parent / "docs" / "images" / "cold.png"
    assert image.read_bytes().startswith(b"\x89PNG")


def test_whole_calls_of_which_there_is_only_the_first(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    log = Log(path, "guide")
    case = {**CASE, "steps": 25, "xla": True}
    log("sfumato jax", "cold", "s", [30.0], case)
    log("sfumato jax", "warm", "s", [20.0, 22.0, 21.0], case)
    log("kerascv xla", "cold", "s", [90.0], case)
    text = page(path)
    assert "| 25 | yes | 30.00 | 21.0 ± 1.0 | 3 |" in text
    assert "| 25 | yes | 90.00 |  |  |" in text


def test_the_plot_of_kinds(file: Path) -> None:
    assert "(images/kinds.png)" in page(file)


def test_what_was_not_measured_is_said(file: Path) -> None:
    missing = page(file).partition("### Not measured on this machine")[2]
    assert "- the suite `guide`" in missing
    assert "- the suite `step`" not in missing
    assert "- kerascv xla" in missing  # it failed
    assert "- sfumato jax" not in missing
    assert "Nothing has been measured on an accelerator." in missing


def test_exponents_come_from_the_records(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    log = Log(path, "scale")
    for batch in (1, 2, 4):
        log("diffusers", "step", "s", [3 * batch**0.5], {**CASE, "batch": batch, "axis": "batch"})
    log("diffusers", "step", "s", [1.0], {**CASE, "size": 256, "axis": "size"})
    text = page(path)
    assert "| diffusers | sd1.5 | batch | 0.50 | 3 |" in text
    assert "| size |" not in text  # of one value
    assert "(images/scale.png)" in text


def test_the_forms_of_a_step_on_an_accelerator(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    log = Log(path, "gpu")
    values = {"flops": 200e12, "matmul": {"jax": 250e12}, "fraction": 0.8}
    log("sfumato jax", "step", "s", [0.01], CASE, **values)
    log("sfumato jax", "step", "s", [0.02], {**CASE, "variant": "fused norms"}, **values)
    log("sfumato jax", "step", "s", [0.03], {**CASE, "flags": "a"}, xla_flags="--a", **values)
    log.failure("sfumato jax", "step", {"flags": "b"}, "no time was left")
    text = page(path)
    steps, _, others = text.partition("### Other forms of the step")
    assert "0.0100" in steps
    assert "0.0200" not in steps
    assert "| fused norms | sfumato jax | sd1.5 | 512 | 1 | float32 | 0.0200 | 1 |" in others
    assert "- a: `--a`" in others
    assert "- sfumato jax, step (b): no time was left" in others


def test_fewer_evaluations(file: Path) -> None:
    log = Log(file, "fewer")
    for name in WAYS:
        seconds = 1.0 if "shallow" in name else 4.0 if name == "unguided" else 8.0
        log("sfumato jax", f"evaluation {name}", "s", [seconds], CASE)
    text = page(file)
    assert "| sfumato jax | sd1.5 | 512 | 1 | float32 | shallow | 1.00 |" in text
    assert "| sfumato jax | full | 200.0 | 1.00 |" in text
    assert "| sfumato jax | feature_reuse 5 | 60.0 | 3.33 |" in text


def test_loras(file: Path) -> None:
    Log(file, "lora")("sfumato jax", "take out", "s", [0.002], CASE | {"rank": 16})
    assert "| sfumato jax | sd1.5 | 512 | 1 | float32 | take out | 0.0020 | 1 |" in page(file)


def test_tables_of_requests(file: Path) -> None:
    log = Log(file, "cluster")
    for workers, rate in ((0, 600.0), (2, 1200.0)):
        case = {"painter": "flat", "size": 64, "workers": workers, "rows": [64, 2048]}
        log("sfumato", "rows", "1/min", [rate], case)
        log("sfumato", "start", "s", [1.5], case)
    text = page(file)
    assert "| flat | this process | 600 | 100.0 | 1.50 |" in text
    assert "| flat | 2 of Ray | 1200 | 50.0 | 1.50 |" in text


def test_trials_are_left_out_unless_asked_for(file: Path) -> None:
    assert "tried" not in page(file)
    assert "tried" in page(file, "--tiny")


def test_the_machine_is_named(file: Path) -> None:
    text = page(file)
    assert "cores" in text
    assert "keras 3." in " ".join(text.split())


def test_a_repeated_measurement_replaces_the_first() -> None:
    first: dict[str, Any] = {"suite": "step", "peer": "a", "metric": "step", "case": {}, "n": 1}
    assert report.latest([first, {**first, "n": 2}]) == [{**first, "n": 2}]


def test_what_there_was_no_time_for_is_told_of_the_last_run() -> None:
    skipped = {"suite": "gpu", "peer": "all", "case": {}, "error": "no time was left"}
    first = {**skipped, "metric": "cold", "date": "2026-01-01T00:00:00Z"}
    second = {**skipped, "metric": "guide", "date": "2026-01-01T00:10:00Z"}
    assert report.latest([first, second]) == [second]
