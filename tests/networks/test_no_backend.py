"""The networks are written once: none of their files names a backend, not even in a comment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sfumato.networks

FILES = sorted(Path(sfumato.networks.__file__).parent.glob("*.py"))
BACKENDS = re.compile(
    r"\b(?:jax|xla|tensorflow|tf|torch|pytorch|openvino)\b|\bbackend\(\)", re.IGNORECASE
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_file_names_a_backend(file: Path) -> None:
    assert not BACKENDS.findall(file.read_text())


def test_names_are_found() -> None:
    code = "import jax\nkeras.backend.backend()\n# under PyTorch\n"
    assert BACKENDS.findall(code) == ["jax", "backend()", "PyTorch"]
