"""`sfumato generate`: what is asked of the pipeline, what lands on disk, what goes where."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sfumato.pictures import Recipe, load, load_recipe


def test_a_picture_on_disk_and_its_path_on_stdout(sfumato, pipeline):
    done = sfumato("generate", "a red apple", "--seed", "42")
    assert (done.code, done.err) == (0, "")
    assert done.lines == ["outputs/00001-42-a-red-apple.png"] == done.files
    assert np.array_equal(load(done.lines[0]), np.full((8, 16, 3), 42))


def test_the_options_reach_the_pipeline(sfumato, pipeline):
    done = sfumato(
        *("generate", "a", "--negative", "blurry", "--model", "sd1.5", "--size", "24x32"),
        *("--steps", "3", "--guidance", "2.5", "--sampler", "k_euler_a", "--schedule", "Karras"),
        *("--seed", "9", "--dtype", "bfloat16", "--quantize", "int8"),
    )
    assert done.code == 0, done.err
    assert pipeline.loaded == ("sd1.5", (24, 32), "bfloat16")
    assert pipeline.quantized == "int8"
    (call,) = pipeline.calls
    del call["on_step"]
    assert call == {
        "prompt": "a",
        "negative_prompt": "blurry",
        "batch_size": 1,
        "num_steps": 3,
        "unconditional_guidance_scale": 2.5,
        "seed": 9,
        "sampler": "euler_a",
        "schedule": "karras",
        "verbose": False,
    }


def test_the_options_that_save_work(sfumato, pipeline):
    done = sfumato(
        *("generate", "a", "--guidance-interval", "0.2:0.8", "--feature-reuse", "3"),
        *("--token-merging", "0.5", "-o", "a.png"),
    )
    assert done.code == 0, done.err
    (call,) = pipeline.calls
    wanted = {"guidance_interval": (0.2, 0.8), "feature_reuse": 3, "token_merging": 0.5}
    assert {name: call[name] for name in wanted} == wanted
    assert load_recipe("a.png").extra == {
        "RNG": "NV",
        "Guidance interval": "0.2:0.8",
        "Feature reuse": "3",
        "Token merging": "0.5",
    }


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--guidance-interval", "0.8:0.2"),
        ("--guidance-interval", "0.5"),
        ("--guidance-interval", "0:1.1"),
        ("--guidance-interval", "1.2.3:1"),
        ("--feature-reuse", "0"),
        ("--token-merging", "0.8"),
        ("--token-merging", "half"),
    ],
)
def test_values_that_do_not_fit(sfumato, pipeline, option, value):
    done = sfumato("generate", "a", option, value)
    assert (done.code, pipeline.calls) == (2, [])
    assert option in done.err
    assert f"Received: {value}" in done.err


def test_the_defaults_are_the_models(sfumato, pipeline):
    assert sfumato("generate", "a").code == 0
    (call,) = pipeline.calls
    assert pipeline.loaded == ("mini", None, None)
    assert (call["sampler"], call["schedule"]) == ("dpmpp_2m", "sgm_uniform")
    assert (call["num_steps"], call["unconditional_guidance_scale"]) == (4, 6.5)
    assert 0 <= call["seed"] < 2**32


def test_an_empty_negative_prompt_is_none(sfumato, pipeline):
    assert sfumato("generate", "a", "--negative", "").code == 0
    assert pipeline.calls[0]["negative_prompt"] is None


def test_an_interval_as_python_writes_it(sfumato, pipeline):
    assert sfumato("generate", "a", "--guidance-interval", "1e-05:1.0").code == 0
    assert pipeline.calls[0]["guidance_interval"] == (1e-5, 1)


def test_where_nothing_can_be_written_nothing_is_loaded(sfumato, pipeline, tmp_path):
    (tmp_path / "taken").touch()
    done = sfumato("generate", "a", "-o", "taken/folder")
    assert (done.code, hasattr(pipeline, "loaded")) == (1, False)
    assert "--out must be where pictures can be written. Received: taken/folder" in done.err


def test_a_sampler_brings_its_own_schedule(sfumato, pipeline):
    assert sfumato("generate", "a", "--sampler", "ddim").code == 0
    assert pipeline.calls[0]["schedule"] == "leading"


def test_every_prompt_starts_from_the_same_seed(sfumato, pipeline):
    done = sfumato("generate", "a pear", "-n", "3", "--seed", "5", "an apple", "-b", "2")
    assert done.code == 0
    assert done.lines == [
        "outputs/00001-5-a-pear.png",
        "outputs/00002-6-a-pear.png",
        "outputs/00003-7-a-pear.png",
        "outputs/00004-5-an-apple.png",
        "outputs/00005-6-an-apple.png",
        "outputs/00006-7-an-apple.png",
    ]
    asked = [(c["prompt"], c["seed"], c["batch_size"]) for c in pipeline.calls]
    assert asked == [("a pear", 5, 2), ("a pear", 7, 1), ("an apple", 5, 2), ("an apple", 7, 1)]
    assert [int(load(path)[0, 0, 0]) for path in done.lines] == [5, 6, 7, 5, 6, 7]


def test_a_prompt_may_begin_with_a_dash(sfumato, pipeline):
    done = sfumato("generate", "--seed", "1", "--", "-n", "b")
    assert done.code == 0, done.err
    assert [call["prompt"] for call in pipeline.calls] == ["-n", "b"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_out_may_name_the_file(sfumato, pipeline, suffix):
    name = f"fruit/apple{suffix}"
    assert sfumato("generate", "a", "-o", name, "--seed", "3").lines == [name]
    assert sfumato("generate", "a", "-o", name).lines == [f"fruit/apple-2{suffix}"]
    assert load_recipe(name).seed == 3


def test_the_recipe_is_in_the_file_unless_unwanted(sfumato, pipeline):
    sfumato("generate", "a", "-o", "with.png", "--seed", "3", "--steps", "2", "--negative", "b")
    recipe = load_recipe("with.png")
    assert replace(recipe, version=None) == Recipe(
        prompt="a",
        negative_prompt="b",
        steps=2,
        sampler="DPM++ 2M",
        schedule="SGM Uniform",
        guidance=6.5,
        seed=3,
        width=16,
        height=8,
        model="mini",
        extra={"RNG": "NV"},
    )
    assert recipe.version.startswith("Sfumato ")
    sfumato("generate", "a", "-o", "without.png", "--no-metadata")
    assert load_recipe("without.png") is None


@pytest.mark.parametrize(("folder", "name"), [("own", "own"), ("sd1.5", "./sd1.5")])
def test_a_recipe_says_of_a_local_model_only_its_name(sfumato, pipeline, tmp_path, folder, name):
    path = tmp_path / "private" / folder
    path.mkdir(parents=True)
    sfumato("generate", "a", "--model", str(path), "-o", "a.png")
    assert pipeline.loaded[0] == str(path)
    assert load_recipe("a.png").model == name


def test_json_lines(sfumato, pipeline):
    done = sfumato("generate", "a [b]", "-n", "2", "--seed", "3", "--json")
    first, second = map(json.loads, done.lines)
    assert (first["seed"], second["seed"]) == (3, 4)
    assert first["prompt"] == "a [b]"
    assert Path(second["path"]).is_file()
    assert second["seconds"] >= 0


class TestInterruption:
    """Ctrl-C stops after the step, keeps what is finished and leaves nothing half done."""

    @staticmethod
    def press(pipeline, when):
        pipeline.on_step = lambda event: when(event) and signal.raise_signal(signal.SIGINT)

    def test_it_stops_after_the_step(self, sfumato, pipeline):
        seen = []
        self.press(pipeline, lambda event: seen.append(event.step) or event.step == 3)
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

    def test_a_picture_in_its_last_step_is_saved(self, sfumato, pipeline):
        self.press(pipeline, lambda event: event.step == event.steps)
        done = sfumato("generate", "a", "-n", "2", "--seed", "1")
        assert done.code == 130
        assert done.files == done.lines == ["outputs/00001-1-a.png"]

    def test_finished_pictures_stay(self, sfumato, pipeline):
        self.press(pipeline, lambda event: len(pipeline.calls) == 2 and event.step == 1)
        done = sfumato("generate", "a", "-n", "5", "--seed", "1")
        assert done.code == 130
        assert done.files == done.lines == ["outputs/00001-1-a.png"]

    def test_twice_is_at_once(self, sfumato, pipeline):
        def twice(event):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("the second one did not stop it")

        pipeline.on_step = twice
        assert sfumato("generate", "a").code == 130


class TestMisuse:
    """Wrong arguments: exit code 2 and one line, before anything is loaded."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((), "there is nothing to paint"),
            (("a", "--size", "500x512"), "multiples of 8. Received: 500x512"),
            (("a", "--size", "0x8"), "multiples of 8. Received: 0x8"),
            (("a", "--size", "huge"), "WIDTHxHEIGHT or square, portrait, landscape"),
            (("a", "--steps", "0"), "a whole number from 1. Received: 0"),
            (("a", "--steps", "2.5"), "a whole number from 1. Received: 2.5"),
            (("a", "--guidance", "nan"), "a number from 0. Received: nan"),
            (("a", "--guidance", "-1"), "a number from 0. Received: -1"),
            (("a", "--seed", "-1"), "a whole number from 0 to 18446744073709551615. Received: -1"),
            (("a", "--seed", str(2**64)), "Received: 18446744073709551616"),
            (("a", "--dtype", "float8"), "float8"),
            (("a", "--sampler", "magic"), "`sampler` must be one of"),
            (("a", "--schedule", "magic"), "`schedule` must be one of"),
            (("a", "-o", "apple.gif"), "--out must be a folder or end in .png, .jpg"),
            (("a", "--colour"), "--colour"),
        ],
    )
    def test_usage(self, sfumato, pipeline, arguments, message):
        done = sfumato("generate", *arguments)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("sfumato: error: ")
        assert done.err.count("\n") == 1
        assert message in done.err
        assert not hasattr(pipeline, "loaded")
        assert done.files == []


class TestFailure:
    """What goes wrong inside is exit code 1 and one line; SFUMATO_DEBUG shows the traceback."""

    @pytest.fixture(autouse=True)
    def failing(self, pipeline):
        def fail(event):
            raise RuntimeError("step 1:\n  the latents are not finite")

        pipeline.on_step = fail

    def test_one_line(self, sfumato):
        done = sfumato("generate", "a")
        assert (done.code, done.out) == (1, "")
        assert done.err == "sfumato: error: step 1: the latents are not finite\n"

    def test_traceback(self, sfumato, monkeypatch):
        monkeypatch.setenv("SFUMATO_DEBUG", "1")
        with pytest.raises(RuntimeError, match="not finite"):
            sfumato("generate", "a")


def test_a_full_disk_leaves_nothing(sfumato, pipeline, monkeypatch):
    def fail(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sfumato.pictures.save", fail)
    done = sfumato("generate", "a")
    assert (done.code, done.files) == (1, [])
    assert "No space left on device" in done.err


def test_a_warning_is_one_line(sfumato, pipeline):
    def warn(event):
        warnings.warn("the prompt was cut:\n'of roses'", stacklevel=2)

    pipeline.on_step = warn
    done = sfumato("generate", "a")
    assert (done.code, done.err) == (0, "sfumato: warning: the prompt was cut: 'of roses'\n")


def test_versions_of_rich_that_end_with_an_empty_line(sfumato, pipeline, monkeypatch):
    monkeypatch.setattr("rich.progress.Progress.stop", lambda self: sys.stderr.write("\n"))
    assert sfumato("generate", "a").err == ""


@pytest.mark.parametrize(
    ("watched", "options", "disabled"),
    [(False, (), "1"), (True, (), None), (True, ("-q",), "1")],
)
def test_the_hub_shows_progress_where_we_do(
    sfumato, pipeline, monkeypatch, watched, options, disabled
):
    name = "HF_HUB_DISABLE_PROGRESS_BARS"
    monkeypatch.setenv(name, "")  # so that it is restored
    monkeypatch.delenv(name)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched)
    assert sfumato("generate", "a", *options).code == 0
    assert os.environ.get(name) == disabled
