"""The tests of PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest

import other_backends

pytestmark = pytest.mark.backend("jax")


def test_backend(tmp_path: Path, subtests: pytest.Subtests, pytestconfig: pytest.Config) -> None:
    other_backends.run("torch", tmp_path, subtests, pytestconfig)
