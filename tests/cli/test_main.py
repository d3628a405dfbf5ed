"""The program as a whole: help, version, colours, speed, and where its output goes."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sfumato as package
from sfumato.cli import terminal
from sfumato.cli.arguments import COMMANDS

SFUMATO = [sys.executable, "-m", "sfumato"]


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("help",)])
def test_overview(sfumato, arguments):
    done = sfumato(*arguments)
    assert (done.code, done.err) == (0, "")
    assert all(command in done.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_argument_and_fits_80_columns(sfumato, command):
    done = sfumato(command, "--help")
    assert (done.code, done.err) == (0, "")
    for action in COMMANDS[command].parser()._actions:
        assert all(name in done.out for name in action.option_strings)
        assert action.help
        assert action.help in " ".join(done.out.split())
    assert max(map(len, done.lines)) <= 80


def test_version(sfumato):
    assert sfumato("--version").out == f"sfumato {package.__version__}\n"


@pytest.mark.parametrize("arguments", [("paint",), ("--paint",), ("a red apple",)])
def test_an_unknown_command(sfumato, arguments):
    done = sfumato(*arguments)
    assert (done.code, done.out) == (2, "")
    assert f"there is no command '{arguments[0]}'; commands: generate, models, info" in done.err


def test_help_takes_under_300_ms():
    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run([*SFUMATO, "--help"], check=True, capture_output=True)
        return time.perf_counter() - start

    # The best of three: the promise is about this program, not about a busy machine.
    assert min(seconds() for _ in range(3)) < 0.3


def on_terminal(*arguments: str, **environment: str) -> bytes:
    """What the program writes to a terminal."""
    import pty

    ours, theirs = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
    env |= {"TERM": "xterm", **environment}
    subprocess.run([*SFUMATO, *arguments], stdout=theirs, stderr=theirs, env=env, check=False)
    os.close(theirs)
    try:
        return os.read(ours, 1 << 16)
    finally:
        os.close(ours)


class TestColour:
    def test_on_a_terminal(self):
        assert b"\x1b[31msfumato:\x1b[0m error" in on_terminal("paint")

    @pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
    @pytest.mark.parametrize("arguments", ["--help", "paint"])
    def test_not_where_it_is_unwanted(self, arguments, environment):
        assert b"\x1b" not in on_terminal(arguments, **environment)

    def test_not_in_a_pipe(self, sfumato):
        assert "\x1b" not in sfumato("--help").out
        assert "\x1b" not in sfumato("paint").err


@pytest.mark.parametrize("arguments", [("--help",), ("generate", "--help")])
def test_a_closed_pipe_is_no_traceback(arguments):
    pipe = subprocess.PIPE
    with subprocess.Popen([*SFUMATO, *arguments], stdout=pipe, stderr=pipe) as run:
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == 1


@pytest.mark.parametrize(
    ("encoding", "path", "written"),
    [
        ("utf8", "caf\udce9", b"caf\xe9"),  # a name that is not UTF-8, as Linux allows
        ("cp1252", "猫", b"\\u732b"),
        ("ascii", "caf\udce9", b"caf\\udce9"),
    ],
)
def test_every_path_can_be_written(monkeypatch, encoding, path, written):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    terminal.take_any_text()
    terminal.write(path)
    assert stdout.buffer.getvalue() == written + b"\n"


SLOW = """
import sys, time
from pathlib import Path
sys.path[:0] = [PATHS]
from conftest import FakeModel
from sfumato.cli import generate, main

def slowly(event):
    Path("painting").touch()
    time.sleep(0.05)

generate.open_model = lambda *arguments, **settings: FakeModel(on_step=slowly)
sys.exit(main(sys.argv[1:]))
""".replace("PATHS", f"{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}")


class TestStreams:
    """With a slow model in a process of its own: a terminal gets progress, a pipe only paths."""

    arguments = ("generate", "[red] apple", "--seed", "1", "--steps", "6")

    def test_progress_on_a_terminal(self, tmp_path):
        import pty

        ours, theirs = pty.openpty()
        run = subprocess.run(
            [sys.executable, "-c", SLOW, *self.arguments],
            stdout=subprocess.PIPE,
            stderr=theirs,
            cwd=tmp_path,
            env=os.environ | {"TERM": "xterm"},
            check=True,
        )
        os.close(theirs)
        shown = os.read(ours, 1 << 16).decode()
        os.close(ours)
        # The prompt's brackets are no markup, and what goes to the pipe is the path alone.
        assert "[red] apple, seed 1" in shown
        assert "/6" in shown
        assert run.stdout == b"outputs/00001-1-red-apple.png\n"

    def test_nothing_but_paths_in_pipes(self, tmp_path):
        command = [sys.executable, "-c", SLOW, *self.arguments]
        run = subprocess.run(command, capture_output=True, cwd=tmp_path, check=True)
        assert (run.stdout, run.stderr) == (b"outputs/00001-1-red-apple.png\n", b"")

    def test_a_pipe_that_cannot_encode_the_path(self, tmp_path):
        command = [sys.executable, "-c", SLOW, "generate", "café", "--seed", "1"]
        env = os.environ | {"PYTHONIOENCODING": "ascii"}
        run = subprocess.run(command, capture_output=True, cwd=tmp_path, env=env, check=True)
        assert (run.stdout, run.stderr) == (b"outputs/00001-1-caf\\xe9.png\n", b"")

    def test_ctrl_c_in_another_process(self, tmp_path):
        command = [sys.executable, "-c", SLOW, *self.arguments[:-1], "500"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, cwd=tmp_path) as run:
            while not (tmp_path / "painting").exists():
                assert run.poll() is None
                time.sleep(0.02)
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=20)
        assert (run.returncode, out) == (130, b"")
        assert err.endswith(b"sfumato: stopped\n")
        assert [path.name for path in tmp_path.iterdir()] == ["painting"]
