"""The room as a whole: its import is light, its examples hold."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys

import sfumato.diffusion


def test_import_needs_nothing_heavy() -> None:
    code = (
        "import sys, sfumato.diffusion\n"
        "heavy = {'keras', 'jax', 'tensorflow', 'torch', 'scipy', 'diffusers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_import_takes_less_than_a_tenth_of_a_second_besides_numpy() -> None:
    code = (
        "import time, numpy, numpy.polynomial, sfumato\n"
        "start = time.perf_counter()\n"
        "import sfumato.diffusion\n"
        "print(time.perf_counter() - start)"
    )
    seconds = [
        float(subprocess.check_output([sys.executable, "-c", code], text=True)) for _ in range(3)
    ]
    assert min(seconds) < 0.1


def test_examples_hold() -> None:
    examples = 0
    for module in pkgutil.iter_modules(sfumato.diffusion.__path__):
        result = doctest.testmod(importlib.import_module(f"sfumato.diffusion.{module.name}"))
        assert result.failed == 0, module.name
        examples += result.attempted
    assert examples >= 4
