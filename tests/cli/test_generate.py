"""`sfumato generate`: what is asked of the model, what lands on disk, what goes where."""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from sfumato.pictures import Recipe, load, load_recipe, save
from sfumato.request import Request
from sfumato.request.fields import declared
from sfumato.request.kinds import Number


def test_a_picture_on_disk_and_its_path_on_stdout(sfumato, model):
    done = sfumato("generate", "a red apple", "--seed", "42")
    assert (done.code, done.err) == (0, "")
    assert done.lines == ["outputs/00001-42-a-red-apple.png"] == done.files
    assert np.array_equal(load(done.lines[0]), np.full((16, 16, 3), 42))


def test_what_the_network_predicts_reaches_the_model(sfumato, model):
    assert sfumato("generate", "a").code == 0
    assert model.prediction is None
    assert sfumato("generate", "a", "--prediction", "v_prediction").code == 0
    assert model.prediction == "v_prediction"
    done = sfumato("generate", "a", "--prediction", "noise")
    assert done.code == 2
    assert "--prediction" in done.err


def test_the_options_reach_the_model(sfumato, model):
    done = sfumato(
        *("generate", "a", "--negative", "blurry", "--model", "sd1.5", "--size", "24x32"),
        *("--steps", "3", "--guidance", "2.5", "--sampler", "k_euler_a", "--schedule", "Karras"),
        *("--seed", "9", "--dtype", "bfloat16", "--quantize", "int8"),
        *("--sampler-options", "eta=0.5,rho=5", "--guidance-rescale", "0.7"),
    )
    assert done.code == 0, done.err
    # Measured for the size that is asked for.
    assert model.loaded == [("sd1.5", "bfloat16", None), ("sd1.5", "bfloat16", None, 32, 24)]
    assert model.quantized == "int8"
    asked = Request(
        prompt="a",
        negative_prompt="blurry",
        model="sd1.5",
        width=24,
        height=32,
        steps=3,
        guidance=2.5,
        sampler="euler_a",
        schedule="karras",
        sampler_options={"eta": 0.5, "rho": 5},
        guidance_rescale=0.7,
        seed=9,
        dtype="bfloat16",
        quantize="int8",
    )
    assert model.requests == [asked]
    assert model.requests[0] != replace(asked, guidance_rescale=0.6)


def test_the_options_that_save_work(sfumato, model):
    done = sfumato(
        *("generate", "a", "--guidance-interval", "0.2:0.8", "--feature-reuse", "3"),
        *("--token-merging", "0.5", "-o", "a.png"),
    )
    assert done.code == 0, done.err
    (request,) = model.requests
    assert request.guidance_interval == (0.2, 0.8)
    assert (request.feature_reuse, request.token_merging) == (3, 0.5)
    items = {"Guidance interval": "0.2:0.8", "Feature reuse": "3", "Token merging": "0.5"}
    assert items.items() <= load_recipe("a.png").items.items()


@pytest.mark.parametrize("size", [("--size", "24x32"), ("--width", "24", "--height", "32")])
def test_sizes(sfumato, model, size):
    assert sfumato("generate", "a", *size, "-o", "a.png").code == 0
    assert load("a.png").shape == (32, 24, 3)


@pytest.mark.parametrize(
    ("word", "side", "shape"),
    [
        ("square", 16, (16, 16, 3)),
        ("landscape", 48, (40, 56, 3)),
        ("portrait", 512, (640, 448, 3)),
    ],
)
def test_shapes_keep_the_number_of_pixels(sfumato, model, word, side, shape):
    model.model = replace(model.model, default_size=side)
    assert sfumato("generate", "a", "--size", word, "-o", "a.png").code == 0
    assert load("a.png").shape == shape


def test_from_a_picture(sfumato, model):
    picture = np.random.default_rng(1).integers(0, 256, (24, 32, 3), np.uint8)
    mask = np.eye(24, 32, dtype=np.uint8)[..., None].repeat(3, axis=-1) * 255
    save("picture.png", picture)
    save("mask.png", mask)
    options = ("--image", "picture.png", "--mask", "mask.png", "--strength", "0.5")
    assert sfumato("generate", "a", *options, "-o", "a.png").code == 0
    (request,) = model.requests
    assert np.array_equal(request.image, picture)
    assert np.array_equal(request.mask, mask[..., 0])
    assert request.strength == 0.5
    assert load_recipe("a.png").items["Size"] == "32x24"


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
        ("--sampler-options", "eta=a b"),
        ("--guidance-rescale", "1.5"),
        ("--strength", "0"),
        ("--image", "missing.png"),
        ("--mask", "."),
        ("--batch", "0"),
        ("--preview", "a.gif"),
        ("--gif", "a.png"),
    ],
)
def test_values_that_do_not_fit(sfumato, model, option, value):
    done = sfumato("generate", "a", option, value)
    assert (done.code, model.loaded) == (2, [])
    assert option in done.err
    assert f"Received: {value}" in done.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--steps", "1001"), "--steps must be from 1 to 1000. Received: steps=1001"),
        (("--width", "20"), "--width must be a multiple of 8. Received: width=20"),
        (("--sampler", "lcm", "--steps", "60"), "--steps must be at most 50 for the lcm schedule"),
        (("--sampler-options", "magic=1"), "--sampler-options must be among"),
        (("--strength", "0.5"), "--image must be given with `strength`"),
        (
            ("--width", "99992", "--height", "99992"),
            "--width must make a picture of at most 67108864 pixels",
        ),
        (("--schedule", "lcm", "--steps", "60"), "--steps must be at most 50 for the lcm schedule"),
        (("--seed", str(2**64 - 1), "-n", "2"), "--seed must be at most 2**64 - 2 for 2 pictures"),
    ],
)
def test_what_the_model_cannot_do_is_misuse(sfumato, model, options, message):
    done = sfumato("generate", "a", *options)
    assert (done.code, done.out, model.requests, done.files) == (2, "", [], [])
    assert done.err.startswith(f"sfumato: error: {message}")
    assert done.err.count("\n") == 1


def test_the_defaults_are_the_models(sfumato, model):
    assert sfumato("generate", "a").code == 0
    (request,) = model.requests
    assert model.loaded == [("mini", None, None)]
    assert (request.sampler, request.schedule) == ("dpmpp_2m", "sgm_uniform")
    assert (request.steps, request.guidance) == (4, 6.5)
    assert (request.height, request.width) == (16, 16)
    assert 0 <= request.seed < 2**32


def test_an_empty_negative_prompt_is_none(sfumato, model):
    assert sfumato("generate", "a", "--negative", "").code == 0
    assert model.requests[0].negative_prompt is None


def test_a_negative_prompt_without_guidance_is_not_in_the_recipe(sfumato, model):
    done = sfumato("generate", "a", "--negative", "b", "--guidance", "1", "-n", "2", "-b", "1")
    assert done.code == 0
    assert done.err.count("warning: `negative_prompt` has no effect without guidance") == 1
    for path in done.lines:
        assert load_recipe(path).negative_prompt == ""


def test_an_interval_as_python_writes_it(sfumato, model):
    assert sfumato("generate", "a", "--guidance-interval", "1e-05:1.0").code == 0
    assert model.requests[0].guidance_interval == (1e-5, 1)


@pytest.mark.parametrize("options", [("-o", "taken/folder"), ("--preview", "taken/a.png")])
def test_where_nothing_can_be_written_nothing_is_loaded(sfumato, model, tmp_path, options):
    (tmp_path / "taken").touch()
    done = sfumato("generate", "a", *options)
    assert (done.code, model.loaded) == (1, [])
    assert f"a picture cannot be written there: {options[1]}" in done.err


def test_a_sampler_brings_its_own_schedule(sfumato, model):
    assert sfumato("generate", "a", "--sampler", "ddim").code == 0
    assert model.requests[0].schedule == "leading"


def test_every_prompt_starts_from_the_same_seed(sfumato, model):
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
    asked = [(request.prompt, request.seed, request.count) for request in model.requests]
    assert asked == [("a pear", 5, 2), ("a pear", 7, 1), ("an apple", 5, 2), ("an apple", 7, 1)]
    assert [int(load(path)[0, 0, 0]) for path in done.lines] == [5, 6, 7, 5, 6, 7]


def test_a_prompt_may_begin_with_a_dash(sfumato, model):
    done = sfumato("generate", "--seed", "1", "--", "-n", "b")
    assert done.code == 0, done.err
    assert [request.prompt for request in model.requests] == ["-n", "b"]


@pytest.mark.parametrize("text", ["-a cat, not a dog", "- a cat", "-5"])
def test_words_that_cannot_be_an_option_may_begin_with_a_dash(sfumato, model, text):
    done = sfumato("generate", text, "--negative", text)
    assert done.code == 0, done.err
    assert [(r.prompt, r.negative_prompt) for r in model.requests] == [(text, text)]


@pytest.mark.parametrize(
    ("piped", "prompts"),
    [
        ("a red apple\n", ["a red apple"]),
        ("\ufeffa cat\r\n\n  a dog  \n", ["a cat", "a dog"]),
        ("-n\n--from", ["-n", "--from"]),
    ],
)
def test_a_dash_is_standard_input(sfumato, model, monkeypatch, piped, prompts):
    monkeypatch.setattr("sys.stdin", io.StringIO(piped))
    assert sfumato("generate", "first", "-", "last").code == 0
    assert [request.prompt for request in model.requests] == ["first", *prompts, "last"]


@pytest.mark.parametrize("piped", [None, "", " \n\n", b"\xff\xfe\xff"])
def test_a_standard_input_without_a_prompt_is_misuse(sfumato, model, monkeypatch, piped):
    stream = io.TextIOWrapper(io.BytesIO(piped), "utf-8") if isinstance(piped, bytes) else None
    monkeypatch.setattr("sys.stdin", io.StringIO(piped) if isinstance(piped, str) else stream)
    save("1.png", np.zeros((8, 8, 3), "uint8"), Recipe("a", "", {"Seed": "1"}))
    for arguments in (("-",), ("-", "--from", "1.png")):
        done = sfumato("generate", *arguments)
        assert (done.code, model.loaded) == (2, [])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_out_may_name_the_file(sfumato, model, suffix):
    name = f"fruit/apple{suffix}"
    assert sfumato("generate", "a", "-o", name, "--seed", "3").lines == [name]
    assert sfumato("generate", "a", "-o", name).lines == [f"fruit/apple-2{suffix}"]
    assert load_recipe(name).items["Seed"] == "3"


def test_the_recipe_is_in_the_file_unless_unwanted(sfumato, model):
    sfumato("generate", "a", "-o", "with.png", "--seed", "3", "--steps", "2", "--negative", "b")
    recipe = load_recipe("with.png")
    items = dict(recipe.items)
    assert items.pop("Version").startswith("Sfumato ")
    assert Recipe(recipe.prompt, recipe.negative_prompt, items) == Recipe(
        "a",
        "b",
        {
            "Steps": "2",
            "Sampler": "DPM++ 2M",
            "Schedule type": "SGM Uniform",
            "CFG scale": "6.5",
            "Seed": "3",
            "Size": "16x16",
            "Model": "mini",
            "RNG": "NV",
        },
    )
    sfumato("generate", "a", "-o", "without.png", "--no-metadata")
    assert load_recipe("without.png") is None


@pytest.mark.parametrize(("folder", "name"), [("own", "own"), ("sd1.5", "./sd1.5")])
def test_a_recipe_says_of_a_local_model_only_its_name(sfumato, model, tmp_path, folder, name):
    path = tmp_path / "private" / folder
    path.mkdir(parents=True)
    sfumato("generate", "a", "--model", str(path), "-o", "a.png")
    assert model.loaded == [(str(path), None, None)]
    assert load_recipe("a.png").items["Model"] == name


def test_json_lines(sfumato, model):
    done = sfumato("generate", "a [b]", "-n", "2", "--seed", "3", "--json")
    first, second = map(json.loads, done.lines)
    assert Path(second.pop("path")).is_file()
    assert second.pop("seconds") >= 0
    assert second.pop("other")["RNG"] == "NV"
    assert second == replace(model.requests[0], seed=4).to_json()
    assert (first["seed"], first["prompt"]) == (3, "a [b]")


def test_what_a_user_should_know_is_said_once(sfumato, model):
    model.flags = ("mini has not learnt: zebra",)
    done = sfumato("generate", "a zebra", "-n", "2")
    assert (done.code, len(done.lines)) == (0, 2)
    assert done.err == "sfumato: warning: mini has not learnt: zebra\n"
    entry = json.loads(sfumato("generate", "a zebra", "--json").out)
    assert entry["flags"] == ["mini has not learnt: zebra"]


def test_json_of_a_picture_from_a_picture_leaves_the_given_one_out(sfumato, model):
    save("picture.png", np.zeros((24, 32, 3), np.uint8))
    entry = json.loads(sfumato("generate", "a", "--image", "picture.png", "--json").out)
    assert "image" not in entry
    assert entry["strength"] == 0.8


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Wider(Request):
    """A request with a field of a later version."""

    magic: float = declared(0.5, Number(0, 1), "Magic", "how much of it [0.5]", "-m", group="new")


def test_a_new_field_is_one_declaration(sfumato, model, monkeypatch):
    monkeypatch.setattr("sfumato.request.Request", Wider)
    monkeypatch.setattr("sfumato.cli.asked.Request", Wider)
    text = sfumato("generate", "--help").out
    assert "new:\n  -m, --magic X             how much of it [0.5]\n" in text
    done = sfumato("generate", "a", "--magic", "2")
    assert (done.code, model.loaded) == (2, [])
    assert "--magic/-m must be a number from 0 to 1. Received: 2" in done.err

    entry = json.loads(sfumato("generate", "a", "-m", "0.25", "-o", "a.png", "--json").out)
    assert entry["magic"] == 0.25
    assert load_recipe("a.png").items["Magic"] == "0.25"
    assert sfumato("generate", "--from", "a.png").code == 0
    assert [request.magic for request in model.requests] == [0.25, 0.25]


def test_a_warning_is_one_line(sfumato, model):
    def warn(event):
        warnings.warn("the prompt was cut:\n'of roses'", stacklevel=2)

    model.on_step = warn
    done = sfumato("generate", "a")
    assert (done.code, done.err) == (0, "sfumato: warning: the prompt was cut: 'of roses'\n")


def test_versions_of_rich_that_end_with_an_empty_line(sfumato, model, monkeypatch):
    monkeypatch.setattr("rich.progress.Progress.stop", lambda self: sys.stderr.write("\n"))
    assert sfumato("generate", "a").err == ""


@pytest.mark.parametrize(
    ("watched", "options", "disabled"),
    [(False, (), "1"), (True, (), None), (True, ("-q",), "1")],
)
def test_the_hub_shows_progress_where_we_do(
    sfumato, model, monkeypatch, watched, options, disabled
):
    name = "HF_HUB_DISABLE_PROGRESS_BARS"
    monkeypatch.setenv(name, "")  # so that it is restored
    monkeypatch.delenv(name)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched)
    assert sfumato("generate", "a", *options).code == 0
    assert os.environ.get(name) == disabled
