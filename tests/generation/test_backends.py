"""The same networks and pictures on every backend, against what JAX stored."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_pipelines


def run(backend: str, jit: str, folders: list[Path], out: Path) -> dict[str, np.ndarray]:
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "SFUMATO_COMPILE_CACHE": "off",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",  # the networks are small: threads would wait for each other
    }
    script = Path(__file__).with_name("paint.py")
    command = [sys.executable, "-W", "ignore", script, out, jit, *folders]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    with np.load(out) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("families")
    return [small_pipelines.save(kind, place) for kind in ("1.x", "xl")]


@pytest.fixture(scope="module")
def stored(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return run("jax", "jit", folders, tmp_path_factory.mktemp("jax") / "results.npz")


@pytest.mark.parametrize(
    ("backend", "jit", "families"),
    [
        ("tensorflow", "graph", 2),
        ("tensorflow", "jit", 1),
        ("torch", "eager", 1),
        ("torch", "jit", 2),
        ("openvino", "jit", 2),
    ],
)
def test_backend(
    backend: str,
    jit: str,
    families: int,
    folders: list[Path],
    stored: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    results = run(backend, jit, folders[:families], tmp_path / "results.npz")
    assert len(results) == sum([12, 5][:families])
    for name, result in results.items():
        expected = stored[name]
        difference = np.abs(result.astype("float64") - expected)
        if expected.dtype == np.uint8:
            assert difference.max() <= 2, name
            assert np.mean(difference <= 1) >= 0.999, name
            assert expected.std() > 5, name
        else:
            assert difference.max() <= 1e-4 * np.abs(expected).max(), name
