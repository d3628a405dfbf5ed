"""Who chooses the Keras backend: the user if they said so, otherwise Sfumato (docs/backends.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sfumato import _backend
from sfumato._backend import (
    _KERAS_DEFAULTS,
    BACKENDS,
    choose_backend,
    has_accelerator,
    preferred_backend,
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder for keras.json, no backend in the environment, no accelerator, no Keras."""
    monkeypatch.setattr(_backend, "has_accelerator", lambda: False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "")
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    return tmp_path


def write_choice(home, **config):
    (home / "keras.json").write_text(json.dumps(config))


@pytest.mark.parametrize(("accelerator", "expected"), [(False, "openvino"), (True, "jax")])
def test_without_a_choice(home, monkeypatch, accelerator, expected):
    monkeypatch.setattr(_backend, "has_accelerator", lambda: accelerator)
    assert choose_backend() == expected
    assert os.environ["KERAS_BACKEND"] == expected


def test_the_default_file_of_keras_is_no_choice(home):
    # Keras leaves keras.json behind on its first import; it says tensorflow whatever is in use.
    code = "import sfumato, keras; print(keras.backend.backend())"
    command = [sys.executable, "-c", code]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    assert first.stdout.strip() == ("jax" if has_accelerator() else "openvino")
    assert json.loads((home / "keras.json").read_text()) == _KERAS_DEFAULTS
    assert choose_backend() == "openvino"


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
    assert choose_backend() == "openvino"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"backend": 1}'])
def test_a_broken_configuration_file_is_no_choice(home, content):
    (home / "keras.json").write_text(content)
    assert choose_backend() == "openvino"


def test_without_a_home_the_configuration_is_where_keras_looks(monkeypatch):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it does without a home
    assert _backend._keras_json() == Path("/tmp/.keras/keras.json")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a user has a home")
def test_without_a_home_the_command_paints(tmp_path):
    """As a service does whose user is not in /etc/passwd and has no HOME."""
    variables = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    variables.pop("SFUMATO_COMPILE_CACHE", None)
    variables |= {"KERAS_BACKEND": "", "HF_HUB_OFFLINE": "1"}
    nobody = "import os; os.path.expanduser = lambda path: path"
    run = "import sys; from sfumato.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", f"{nobody}; {run}"]

    def run_command(*arguments):
        return subprocess.run(
            [*command, *arguments],
            env=variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    assert run_command("--help").returncode == 0
    done = run_command("generate", "an apple", "--steps", "1", "-o", "a.png")
    assert (done.returncode, done.stdout) == (0, "a.png\n"), done.stderr
    assert os.listdir(tmp_path) == ["a.png"]  # and no folder that is called "~"
    for action in ("ls", "verify"):
        done = run_command("models", action, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert '"mini"' in done.stdout
    done = run_command("generate", "an apple", "--model", "~nobody/x")
    assert done.returncode == 1
    assert "Received: '~nobody/x'; there is no such file" in done.stderr


def test_keras_imported_before_is_left_alone(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", object())
    assert choose_backend() is None
    assert os.environ["KERAS_BACKEND"] == ""


@pytest.mark.parametrize("accelerator", [False, True])
@pytest.mark.parametrize("only", BACKENDS)
def test_another_one_when_only_that_is_installed(only, accelerator):
    assert preferred_backend(lambda name: name == only, accelerator) == only


def test_none_without_any():
    assert preferred_backend(lambda name: False, False) is None


def test_an_accelerator_is_a_plugin_of_jax_or_a_visible_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(_backend, "NVIDIA", (str(tmp_path / "nvidiactl"),))
    monkeypatch.setattr(_backend, "PLUGINS", ("no_such_plugin",))
    assert not has_accelerator()
    (tmp_path / "nvidiactl").touch()
    assert has_accelerator()
    monkeypatch.setattr(_backend, "NVIDIA", ())
    monkeypatch.setattr(_backend, "PLUGINS", ("no_such_plugin", "json"))
    assert has_accelerator()


def test_openvino_starts_without_jax_and_scipy_and_hides_neither():
    code = """
        import sys, sfumato
        sfumato.StableDiffusion
        import keras
        assert keras.backend.backend() == "openvino"
        assert not {"jax", "scipy.signal"} & set(sys.modules)
        import jax, scipy, scipy.signal
        assert jax.numpy.ones(2).sum() == 2
        assert scipy.signal.get_window("hann", 4).tolist() == [0, 0.5, 1, 0.5]
        keras.ops.stft(keras.ops.ones((16,)), 4, 2, 4)
    """
    environment = os.environ | {"KERAS_BACKEND": "openvino"}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("backend", ["openvino", "jax"])
def test_the_command_line_starts_without_what_keras_could_plot_or_wrap(tmp_path, backend):
    for name in ("sklearn", "matplotlib"):
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} was imported')")
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "sfumato", "generate", "an apple", "--steps", "1"]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-c", "import sfumato; sfumato.StableDiffusion"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "was imported" in done.stderr  # others may want them of Keras
