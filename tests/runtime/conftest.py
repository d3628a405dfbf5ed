"""Fixtures for the tests of OpenVINO."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import openvino_networks
import pytest
from openvino_networks import count_compilations


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    import openvino

    for name in ("compile_model", "import_model"):  # to be put back at the end
        monkeypatch.setattr(openvino.Core, name, getattr(openvino.Core, name))
    return count_compilations()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for executables."""
    monkeypatch.setenv("SFUMATO_COMPILE_CACHE", str(tmp_path))
    return tmp_path / "openvino"


@pytest.fixture(scope="session")
def jax_result(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The result of the small network on JAX, from a process of its own."""
    out = tmp_path_factory.mktemp("jax") / "unet.npz"
    command = [sys.executable, "-W", "ignore", openvino_networks.__file__, out]
    subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "jax"}, check=True)
    with np.load(out) as stored:
        return stored["result"]
