"""The tests of this folder on backends that have forms of their own: processes of their own.

OpenVINO, which does not train, has its cases in ``tests/runtime``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LAYERS = ("layers", "kernels", "merging")


@pytest.mark.parametrize(
    ("backend", "names"), [("tensorflow", LAYERS), ("torch", (*LAYERS, "keras"))]
)
def test_other_backends(backend: str, names: tuple[str, ...]) -> None:
    files = [Path(__file__).with_name(f"test_{name}.py") for name in names]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    options = ["-q", "-p", "no:cacheprovider", "-k", "not quantization"]  # it takes half a minute
    command = [sys.executable, "-m", "pytest", *options, *files]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
