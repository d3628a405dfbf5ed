"""On which Keras backends the tests of a file run: on those that its mark names.

    pytestmark = pytest.mark.backend("torch", "openvino")

A file without the mark runs on any. One with it is not even imported on another backend, since
backends disturb each other in one process. ``other_backends`` runs them in processes of their own.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

BACKENDS = ("jax", "tensorflow", "torch", "openvino")
MARK = re.compile(r"^pytestmark = .*?mark\.backend\((.*?)\)", re.MULTILINE | re.DOTALL)


def backends_of(file: Path) -> tuple[str, ...]:
    """The backends that the mark of a file names; all if it has none."""
    found = MARK.search(file.read_text())
    return ast.literal_eval(f"({found[1]},)") if found else BACKENDS


def is_here(names: tuple[str, ...]) -> bool:
    """Whether the backend in use is one of these."""
    return os.environ["KERAS_BACKEND"] in names
