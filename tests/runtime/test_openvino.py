"""The OpenVINO backend, in a process of its own: Keras has one backend for each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from openvino_cases import unet_result

CASES = sorted(Path(__file__).parent.glob("openvino*_cases.py"))


@pytest.fixture(scope="module")
def jax_result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("jax") / "unet.npy"
    np.save(file, unet_result())
    return file


def test_openvino(jax_result: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "KERAS_BACKEND": "openvino",
        "SFUMATO_COMPILE_CACHE": str(tmp_path / "compiled"),
        "SFUMATO_TEST_UNET": str(jax_result),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CASES]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
