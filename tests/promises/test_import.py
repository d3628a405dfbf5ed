"""Importing Sfumato is quick, silent and initialises nothing; no name needs the network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

HEAVY = {"keras", "jax", "tensorflow", "torch", "PIL", "numpy", "huggingface_hub", "rich"}
HEAVY |= {"fastapi", "pydantic", "starlette", "uvicorn"}


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter that knows the tests' path and turns warnings to errors."""
    env = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"} | environment
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )


def loaded_after(statement: str) -> set[str]:
    """The top-level packages in `sys.modules` after `statement` in a fresh interpreter."""
    done = run_python(f"""
        import json, sys
        {statement}
        print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
    """)
    assert done.stderr == ""
    return set(json.loads(done.stdout))


def test_import_loads_nothing_heavy():
    assert loaded_after("import sfumato") & HEAVY == set()


def test_import_prints_nothing():
    done = run_python("import sfumato; dir(sfumato); sfumato.__version__")
    assert (done.stdout, done.stderr) == ("", "")


def test_import_takes_under_300_ms():
    code = """
        import time
        start = time.perf_counter()
        import sfumato
        print(time.perf_counter() - start)
    """
    # The best of three: the promise is about this package, not about a busy machine.
    assert min(float(run_python(code).stdout) for _ in range(3)) < 0.3


@pytest.mark.parametrize("room", ["diffusion", "text", "pictures"])
def test_rooms_that_know_no_keras_load_none(room: str):
    statement = f"""
        import importlib, pkgutil
        package = importlib.import_module("sfumato.{room}")
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)
    """
    loaded = loaded_after(textwrap.indent(textwrap.dedent(statement), " " * 8).strip())
    assert loaded & {"keras", "jax", "tensorflow", "torch", "matplotlib"} == set()


def test_unknown_names_are_attribute_errors():
    import sfumato

    with pytest.raises(AttributeError, match="no attribute 'Unstable'"):
        sfumato.Unstable  # noqa: B018


def test_public_names_are_listed_before_they_are_loaded():
    names = json.loads(run_python("import json, sfumato; print(json.dumps(dir(sfumato)))").stdout)
    assert {"StableDiffusion", "StableDiffusionV2", "models", "visualization"} <= set(names)


def test_one_class_under_each_of_its_names():
    import sfumato

    assert sfumato.models.StableDiffusion is sfumato.StableDiffusion
    assert sfumato.models.StableDiffusionV2 is sfumato.StableDiffusionV2


def test_every_module_imports_without_network_or_noise():
    # A socket that cannot be opened proves that nothing asks for the network while loading.
    code = """
        import pkgutil, importlib, socket

        def refuse(*args, **kwargs):
            raise AssertionError("the network was asked for")

        socket.socket.connect = socket.create_connection = refuse
        import sfumato
        for module in pkgutil.walk_packages(sfumato.__path__, "sfumato."):
            if module.name.startswith(("sfumato.runtime.", "sfumato.kernels.", "sfumato.__main__")):
                continue  # one runtime for each backend: loaded when that backend is in use
            importlib.import_module(module.name)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
