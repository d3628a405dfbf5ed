"""Every example in a docstring does what it says."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import keras
import pytest

import sfumato

BACKENDS = ("jax", "tensorflow", "torch", "openvino")


FOLDER = Path(sfumato.__path__[0])


def module_name(file: Path) -> str:
    parts = file.relative_to(FOLDER.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


# The text is searched, so that no module is imported that belongs to another backend than the test.
WITH_EXAMPLES = sorted(
    module_name(file) for file in FOLDER.rglob("*.py") if ">>> " in file.read_text("utf-8")
)


def backend_of(module: str) -> str | None:
    """The backend that a module's name or that of its folder is, which it imports."""
    return next((part for part in module.split(".") if part in BACKENDS), None)


def run_examples(module: str) -> tuple[int, int]:
    """How many examples failed and how many there are."""
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    results = doctest.testmod(import_module(module), optionflags=options)
    return results.failed, results.attempted


def run_examples_on(backend: str, module: str) -> tuple[int, int]:
    """The same in a process of its own, because one process has one backend."""
    code = f"from test_examples import run_examples; print(*run_examples({module!r}), sep='\\n')"
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": path}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    failed, attempted = map(int, done.stdout.splitlines()[-2:])
    assert not failed, done.stdout
    return failed, attempted


def test_modules_with_examples_are_found() -> None:
    assert {"sfumato.diffusion.noise", "sfumato.text.tokenizer"} <= set(WITH_EXAMPLES)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples(module: str) -> None:
    backend = backend_of(module) or keras.backend.backend()
    here = backend == keras.backend.backend()
    failed, attempted = run_examples(module) if here else run_examples_on(backend, module)
    assert failed == 0
    assert attempted > 0, f"{module} has examples in which no docstring is"


def test_examples_of_another_backend_run() -> None:
    other = next(backend for backend in BACKENDS if backend != keras.backend.backend())
    assert run_examples_on(other, "sfumato.diffusion.noise") == (0, 1)
    assert backend_of("sfumato.kernels.openvino") == "openvino"
    assert backend_of("sfumato.runtime.torch.graph") == "torch"
    assert backend_of("sfumato.stable_diffusion") is None
