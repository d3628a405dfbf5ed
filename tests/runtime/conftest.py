"""Fixtures of the cases of ``test_openvino``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from openvino_cases import count_compilations


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
