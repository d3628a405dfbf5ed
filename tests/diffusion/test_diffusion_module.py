"""The room as a whole: its import is light."""

from __future__ import annotations

import subprocess
import sys


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
