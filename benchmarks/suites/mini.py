"""The bundled model from the command line: how long until the first picture is on the disk.

"first time" begins with an empty folder of compiled programs, "next time" finds them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from benchmarks.records import Log
from benchmarks.suites import Plan
from benchmarks.workers import ROOT
from sfumato.presets import PRESETS

BACKENDS = ("jax", "openvino")
SIZE = PRESETS["mini"].size


def run(plan: Plan, log: Log) -> None:
    backends = [name for name in BACKENDS if find_spec(name)]
    measure(steps(plan), backends, plan.repeats, log)


def steps(plan: Plan) -> int:
    return plan.steps or (2 if plan.tiny else PRESETS["mini"].steps)


def measure(steps: int, backends: list[str], repeats: int, log: Log) -> None:
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(repeats):
        for backend in backends:
            with tempfile.TemporaryDirectory() as folder:
                environment = {
                    "KERAS_BACKEND": backend,
                    "SFUMATO_COMPILE_CACHE": str(Path(folder) / "compiled"),
                }
                for mode in ("first time", "next time"):
                    value = generate(environment, steps, Path(folder))
                    seconds.setdefault((backend, mode), []).append(value)
    for (backend, mode), values in seconds.items():
        case = {"model": "mini", "size": SIZE, "steps": steps, "cache": mode}
        log(f"sfumato {backend}", "command", "s", values, case)


def generate(environment: Mapping[str, str], steps: int, folder: Path) -> float:
    """Seconds of ``sfumato generate`` from its start to its end."""
    env = {**os.environ, **environment, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "sfumato", "generate", "a red apple", "-q", "--seed", "1"]
    command += ["--steps", str(steps), "-o", str(folder / "pictures")]
    start = time.perf_counter()
    subprocess.run(command, env=env, check=True, capture_output=True, cwd=folder)
    return time.perf_counter() - start
