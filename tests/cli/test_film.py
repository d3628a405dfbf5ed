"""Animations of pictures that are made in several batches."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from PIL import Image, ImageSequence

from sfumato.cli.film import Film, _enlarged
from sfumato.pictures import load


def step(number, shades):
    images = np.broadcast_to(np.array(shades, "uint8")[:, None, None, None], (len(shades), 2, 2, 3))
    return SimpleNamespace(step=number, steps=2, preview=lambda: images)


def test_each_picture_has_the_steps_of_its_own_batch(tmp_path):
    film = Film(None, tmp_path / "a.webp")
    picture = SimpleNamespace(pixels=np.full((16, 16, 3), 255, "uint8"))
    batches = [[10, 60], [110]]  # prompts of another length are a batch of their own
    for shades in batches:
        film.show(step(1, shades))
        film.show(step(2, shades))
        for _ in shades:
            film.keep(picture)
    for name, shade in (("a.webp", 10), ("a-2.webp", 60), ("a-3.webp", 110)):
        with Image.open(tmp_path / name) as animation:
            first = np.asarray(animation.convert("RGB"))
            assert abs(int(first[0, 0, 0]) - shade) <= 3
            assert animation.n_frames == 2  # equal frames are one


def test_frames_of_two_passes_become_as_large_as_the_picture() -> None:
    """By whole multiples and others: every pixel is the nearest of the small picture."""
    image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1).repeat(3, -1)
    assert np.array_equal(_enlarged(image, 4, 9), image.repeat(2, 0).repeat(3, 1))
    uneven = _enlarged(image, 3, 4)[..., 0]
    assert uneven.tolist() == [[0, 0, 1, 2], [0, 0, 1, 2], [3, 3, 4, 5]]


class TestFilm:
    """`--preview` is rewritten after each step; `--gif` keeps all of it."""

    def test_preview(self, sfumato, model):
        seen = []

        def look(event):
            if event.step > 1:
                seen.append(load("new/now.png"))

        model.on_step = look
        options = ("--size", "32x24", "-n", "2", "-b", "2", "--seed", "1")
        done = sfumato("generate", "a", *options, "--preview", "new/now.png")
        assert (done.code, done.err) == (0, "")
        # Two pictures of 4x3 in a row, brighter with each step.
        row = np.repeat([0, 5], 4)[None, :, None]
        wanted = [np.broadcast_to(row + 10 * step, (3, 8, 3)) for step in (1, 2, 3, 4)]
        assert np.array_equal([*seen, load("new/now.png")], wanted)
        assert [name for name in done.files if name.startswith("new")] == ["new/now.png"]

    def test_animation(self, sfumato, model):
        options = ("-n", "2", "--seed", "200", "--steps", "3", "-o", "a.png", "-q")
        done = sfumato("generate", "a", *options, "--gif", "a.gif")
        assert done.lines == ["a.png", "a-2.png"]
        assert done.files == ["a-2.gif", "a-2.png", "a.gif", "a.png"]
        for name, last in (("a.gif", 200), ("a-2.gif", 201)):
            with Image.open(name) as film:
                frames = [np.array(frame.convert("RGB")) for frame in ImageSequence.Iterator(film)]
            shades = [{*frame.flat} for frame in frames]
            assert shades == [{10}, {20}, {30}, {last}]
            assert {frame.shape for frame in frames} == {(16, 16, 3)}

    def test_animations_of_a_batch_are_each_picture_s_own(self, sfumato, model):
        options = ("-n", "2", "-b", "2", "--seed", "200", "--steps", "2", "-o", "a.png")
        sfumato("generate", "a", *options, "--gif", "a.webp")
        with Image.open("a-2.webp") as film:
            assert film.n_frames == 3
            first = np.array(film.convert("RGB"))
        assert abs(first.mean() - 15) < 2  # the second picture at the first step

    def test_a_model_without_previews(self, sfumato, model):
        model.has_previews = False
        options = ("-n", "2", "--preview", "now.png", "--gif", "a.gif", "-o", "a.png")
        done = sfumato("generate", "a", *options)
        assert (done.code, done.files) == (0, ["a-2.png", "a.png"])
        assert done.err == "sfumato: warning: these pictures have no previews\n"
