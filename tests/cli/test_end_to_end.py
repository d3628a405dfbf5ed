"""The command with a real pipeline: small random networks, no network connection."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny_model
from sfumato.pictures import load, load_recipe, save


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A folder as diffusers writes it, made for pictures of 48 pixels."""
    folder = tmp_path_factory.mktemp("models") / "small"
    return str(tiny_model.save(folder, size=48))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_a_picture_made_with_less_work_and_the_same_again(sfumato, model):
    options = ("--guidance-interval", "0:0.6", "--feature-reuse", "2", "--token-merging", "0.5")
    settings = ("--model", model, "--steps", "3", "--seed", "7")
    assert sfumato("generate", "a pear", *settings, *options, "-o", "1.png").code == 0
    assert sfumato("generate", "--from", "1.png", "--model", model, "-o", "2.png").code == 0
    assert Path("1.png").read_bytes() == Path("2.png").read_bytes()
    assert sfumato("generate", "a pear", *settings, "-o", "3.png").code == 0
    assert not np.array_equal(load("1.png"), load("3.png"))


def test_a_picture_and_the_same_again(sfumato, model):
    done = sfumato("generate", "a red apple", "--model", model, "--steps", "3", "--seed", "7")
    assert (done.code, done.err) == (0, "")
    assert done.lines == ["outputs/00001-7-a-red-apple.png"] == done.files
    picture = load(done.lines[0])
    assert picture.shape == (48, 48, 3)
    assert picture.std() > 1
    items = load_recipe(done.lines[0]).items
    stated = {"Sampler": "DPM++ 2M", "Schedule type": "Karras", "Seed": "7", "Model": "small"}
    assert stated.items() <= items.items()

    again = sfumato("generate", "--from", done.lines[0], "--model", model, "-o", "again.png")
    assert (again.code, again.err) == (0, "")
    assert Path("again.png").read_bytes() == Path(done.lines[0]).read_bytes()


def test_a_picture_of_a_batch_is_itself(sfumato, model):
    options = ("--model", model, "--steps", "2", "--sampler", "euler_a", "--size", "landscape")
    batch = sfumato("generate", "a", *options, "--seed", "7", "-n", "2", "-b", "2")
    alone = sfumato("generate", "a", *options, "--seed", "8", "-o", "alone.png")
    assert batch.code == alone.code == 0, batch.err + alone.err
    first, second = (load(path).astype(int) for path in batch.lines)
    picture = load("alone.png").astype(int)
    assert picture.shape == (40, 56, 3)
    assert np.abs(second - picture).max() <= 1
    assert np.abs(first - picture).max() > 1


def test_from_a_picture(sfumato, model):
    settings = ("--model", model, "--steps", "4", "--seed", "7")
    assert sfumato("generate", "a", *settings, "-o", "1.png").code == 0
    given = load("1.png")
    mask = np.zeros_like(given)
    mask[:, 24:] = 255
    save("mask.png", mask)
    options = ("--image", "1.png", "--mask", "mask.png", "--strength", "0.5")
    sampler = ("--sampler", "euler_a", "--sampler-options", "eta=0.5")
    done = sfumato("generate", "b", *settings, *options, *sampler, "-o", "2.png")
    assert (done.code, done.err, done.lines) == (0, "", ["2.png"])
    made = load("2.png")
    assert np.array_equal(made[:, :24], given[:, :24])
    assert not np.array_equal(made[:, 24:], given[:, 24:])

    # The recipe needs the two pictures, and nothing else.
    pictures = ("--model", model, "--image", "1.png", "--mask", "mask.png")
    assert sfumato("generate", "--from", "2.png", *pictures, "-o", "3.png").code == 0
    assert Path("3.png").read_bytes() == Path("2.png").read_bytes()


def test_previews_come_near_to_the_picture(sfumato):
    options = ("--model", "mini-turbo", "--seed", "7", "-o", "1.png")
    done = sfumato("generate", "a red apple", *options, "--preview", "now.png", "--gif", "a.gif")
    assert (done.code, done.err, done.lines) == (0, "", ["1.png"])
    picture, preview = load("1.png"), load("now.png")
    H, W, _ = picture.shape
    h, w, _ = preview.shape
    small = picture.reshape(h, H // h, w, W // w, 3).mean(axis=(1, 3))
    assert np.abs(small - preview).mean() < 8
    assert small.std() > 40
    with Image.open("a.gif") as film:
        assert (film.n_frames, film.size) == (5, (W, H))


def test_a_plain_prompt_that_is_too_long_warns_and_names_what_is_cut(sfumato, model):
    options = ("--model", model, "--steps", "1", "--prompt-syntax", "plain")
    done = sfumato("generate", "apple " * 80 + "unreachable", *options)
    assert done.code == 0
    assert done.err.startswith("sfumato: warning: ")
    assert "unreachable" in done.err
    assert done.err.count("\n") == 1


def test_words_with_weights_come_back_with_the_recipe(sfumato, model):
    words = "a (red:1.3) {apple|pear} AND [cat:dog:1]:0.5 BREAK " + "night, " * 40
    options = ("--model", model, "--steps", "2", "--emphasis", "no_norm", "--clip-skip", "1")
    done = sfumato("generate", words, *options, "--seed", "3", "-o", "a.png")
    assert (done.code, done.err) == (0, "")
    said = json.loads(sfumato("info", "--json", "a.png").out)
    assert said["template"] == words
    assert said["prompt"] in (words.replace("{apple|pear}", fruit) for fruit in ("apple", "pear"))
    assert said["emphasis"] == "no_norm"
    done = sfumato("generate", "--from", "a.png", "--model", model, "-o", "b.png")
    assert (done.code, done.err) == (0, "")
    np.testing.assert_array_equal(load("a.png"), load("b.png"))


def test_a_model_that_is_none(sfumato, tmp_path):
    (tmp_path / "empty").mkdir()
    done = sfumato("generate", "a", "--model", "./empty")
    assert (done.code, done.out, done.files) == (1, "", [])
    assert "empty" in done.err
    assert done.err.count("\n") == 1
