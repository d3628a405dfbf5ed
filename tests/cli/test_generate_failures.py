"""`sfumato generate` that is interrupted, misused, or fails."""

from __future__ import annotations

import os
import signal

import pytest


class TestInterruption:
    """Ctrl-C stops after the step, keeps what is finished and leaves nothing half done."""

    @staticmethod
    def press(model, when):
        model.on_step = lambda event: when(event) and signal.raise_signal(signal.SIGINT)

    def test_it_stops_after_the_step(self, sfumato, model):
        seen = []
        self.press(model, lambda event: seen.append(event.step) or event.step == 3)
        before = signal.getsignal(signal.SIGINT)
        done = sfumato("generate", "a", "-n", "2")
        assert done.code == 130
        assert seen == [1, 2, 3]
        assert done.files == []
        assert done.out == ""
        assert done.err.splitlines() == [
            "sfumato: stopping after this step (Ctrl-C again: now)",
            "sfumato: stopped",
        ]
        assert signal.getsignal(signal.SIGINT) is before

    def test_a_picture_in_its_last_step_is_saved(self, sfumato, model):
        self.press(model, lambda event: event.step == event.steps)
        done = sfumato("generate", "a", "-n", "2", "--seed", "1")
        assert done.code == 130
        assert done.files == done.lines == ["outputs/00001-1-a.png"]

    def test_finished_pictures_stay(self, sfumato, model):
        self.press(model, lambda event: len(model.requests) == 2 and event.step == 1)
        done = sfumato("generate", "a", "-n", "5", "--seed", "1")
        assert done.code == 130
        assert done.files == done.lines == ["outputs/00001-1-a.png"]

    def test_twice_is_at_once(self, sfumato, model):
        def twice(event):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("the second one did not stop it")

        model.on_step = twice
        assert sfumato("generate", "a").code == 130


class TestMisuse:
    """Wrong arguments: exit code 2 and one line, before anything is loaded."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((), "there is nothing to paint"),
            (("a", "--size", "500x512"), "multiples of 8. Received: 500x512"),
            (("a", "--size", "99992x99992"), "--size must have at most 67108864 pixels."),
            (("a", "--size", "0x8"), "multiples of 8. Received: 0x8"),
            (("a", "--size", "huge"), "WIDTHxHEIGHT or square, portrait, landscape"),
            (("a", "--steps", "0"), "a whole number from 1. Received: 0"),
            (("a", "--steps", "2.5"), "a whole number from 1. Received: 2.5"),
            (("a", "--guidance", "nan"), "a number from 0. Received: nan"),
            (("a", "--guidance", "-1"), "a number from 0. Received: -1"),
            (("a", "--seed", "-2"), "0 to 18446744073709551615, or -1 for any. Received: -2"),
            (("a", "--seed-resize", "30x32"), "such as 512x768. Received: 30x32"),
            (("a", "--seed", str(2**64)), "Received: 18446744073709551616"),
            (("a", "--dtype", "float8"), "--dtype must be one of float32, mixed_float16"),
            (("a", "--sampler", "magic"), "--sampler must be one of euler, euler_a"),
            (("a", "--schedule", "magic"), "--schedule must be one of uniform, leading"),
            (("a", "-o", "apple.gif"), "-o/--out must be a folder or end in .png, .jpg"),
            (("a", "--colour"), "--colour"),
            (("a", "-o", "-"), "-o/--out must be a folder or a file, as stdout has the paths"),
            (("a", "--negative", "-blurry"), "if -blurry is meant, write --negative=-blurry"),
            (("--negative-prompt", "--x", "a"), "write --negative-prompt=--x"),
            (("a", "--negative"), "expected one argument (`sfumato generate --help`)"),
            (("-cat",), "-cat; a prompt that begins with a dash goes behind `--`"),
        ],
    )
    def test_usage(self, sfumato, model, arguments, message):
        done = sfumato("generate", *arguments)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("sfumato: error: ")
        assert done.err.count("\n") == 1
        assert message in done.err
        assert model.loaded == []
        assert done.files == []


class TestFailure:
    """What goes wrong inside is exit code 1 and one line; SFUMATO_DEBUG shows the traceback."""

    @pytest.fixture(autouse=True)
    def failing(self, model):
        def fail(event):
            raise RuntimeError("step 1:\n  the latents are not finite")

        model.on_step = fail

    def test_one_line(self, sfumato):
        done = sfumato("generate", "a")
        assert (done.code, done.out) == (1, "")
        assert done.err == "sfumato: error: step 1: the latents are not finite\n"

    def test_traceback(self, sfumato, monkeypatch):
        monkeypatch.setenv("SFUMATO_DEBUG", "1")
        with pytest.raises(RuntimeError, match="not finite"):
            sfumato("generate", "a")


def test_a_full_disk_leaves_nothing(sfumato, model, monkeypatch):
    def fail(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sfumato.pictures.files.save", fail)
    done = sfumato("generate", "a")
    assert (done.code, done.files) == (1, [])
    assert "No space left on device" in done.err
