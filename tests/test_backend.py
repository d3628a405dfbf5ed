"""Who chooses the Keras backend: the user if they said so, otherwise Sfumato (docs/backends.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from sfumato._backend import _KERAS_DEFAULTS, BACKENDS, choose_backend, preferred_backend


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder for keras.json, no backend in the environment, and Keras not imported."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "")
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    return tmp_path


def write_choice(home, **config):
    (home / "keras.json").write_text(json.dumps(config))


def test_jax_without_a_choice(home):
    assert choose_backend() == "jax"
    assert os.environ["KERAS_BACKEND"] == "jax"


def test_jax_although_keras_wrote_its_default_file(home):
    # Keras leaves keras.json behind on its first import; it says tensorflow whatever is in use.
    code = "import sfumato, keras; print(keras.backend.backend())"
    command = [sys.executable, "-c", code]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    assert first.stdout.strip() == "jax"
    assert json.loads((home / "keras.json").read_text()) == _KERAS_DEFAULTS
    assert choose_backend() == "jax"


def test_environment_is_a_choice(home, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert choose_backend() is None
    assert os.environ["KERAS_BACKEND"] == "torch"


def test_configuration_file_is_a_choice(home):
    write_choice(home, backend="torch")
    assert choose_backend() is None
    assert os.environ["KERAS_BACKEND"] == ""


def test_tensorflow_in_a_file_that_someone_edited_is_a_choice(home):
    write_choice(home, **_KERAS_DEFAULTS | {"floatx": "float16"})
    assert choose_backend() is None


def test_a_backend_that_is_not_installed_is_no_choice(home):
    write_choice(home, backend="mxnet")
    assert choose_backend() == "jax"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"backend": 1}'])
def test_a_broken_configuration_file_is_no_choice(home, content):
    (home / "keras.json").write_text(content)
    assert choose_backend() == "jax"


def test_keras_imported_before_is_left_alone(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", object())
    assert choose_backend() is None
    assert os.environ["KERAS_BACKEND"] == ""


@pytest.mark.parametrize("only", BACKENDS)
def test_another_one_when_only_that_is_installed(only):
    assert preferred_backend(lambda name: name == only) == only


def test_jax_first_and_none_without_any():
    assert preferred_backend(lambda name: True) == "jax"
    assert preferred_backend(lambda name: False) is None
