"""Captions are true: what they name is what the pixels show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_drawings import shape, toy_pack

from recipes.mini import colours, pack
from recipes.mini.compose import (
    Composer,
    Scene,
    caption,
    phrase,
    plural,
    prompt,
    with_article,
    withheld,
)  # fmt: skip
from recipes.mini.stream import make

STYLES = ("3d render", "flat drawing")


@pytest.mark.parametrize("colour", colours.PAINTS)
@pytest.mark.parametrize("start", [(214, 48, 48), (48, 96, 214), (240, 200, 60), (60, 160, 70)])
def test_a_painted_thing_is_seen_in_its_new_colour(colour: str, start: tuple[int, int, int]):
    painted = over_white(colours.paint(shape("ball", start, 32), colour))
    assert colours.seen_colour(painted) == colour


def over_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:] / 255
    return np.round(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype("uint8")


def test_painting_leaves_other_hues_and_the_outline():
    rgba = shape("ball", (214, 48, 48), 32)
    rgba[:8, :, :3] = (60, 160, 70)  # a green leaf on a red fruit
    painted = colours.paint(rgba, "blue")
    np.testing.assert_array_equal(painted[:8], rgba[:8])
    np.testing.assert_array_equal(painted[..., 3], rgba[..., 3])
    assert colours.own_colour(painted[8:]) == "blue"


@pytest.mark.parametrize(("rgb", "name"), [
    ((255, 0, 0), "red"), ((255, 140, 0), "orange"), ((250, 220, 60), "yellow"),
    ((40, 160, 60), "green"), ((40, 90, 220), "blue"), ((130, 60, 200), "purple"),
    ((250, 160, 200), "pink"), ((120, 70, 30), "brown"), ((10, 10, 10), "black"),
    ((255, 255, 255), "white"), ((128, 128, 128), "gray"),
])  # fmt: skip
def test_colours_have_their_everyday_names(rgb: tuple[int, int, int], name: str):
    picture = np.full((8, 8, 3), rgb, "uint8")
    assert colours.seen_background(picture) == name


def test_hsv_is_its_own_inverse():
    rgb = np.random.default_rng(0).random((50, 3))
    np.testing.assert_allclose(colours.from_hsv(*colours.to_hsv(rgb)), rgb, atol=1e-6)


def test_every_caption_is_true_of_its_picture():
    composer = Composer(toy_pack(32), STYLES)
    random = np.random.Generator(np.random.Philox(1))
    for _ in range(300):
        scene, index = composer.draw_scene(random)
        picture = composer.paint(scene, index, random)
        words = caption(scene, composer.pack.labels[index], STYLES[0], random)
        assert scene.name in words
        assert colours.seen_background(picture) == scene.background
        if scene.background != "white":
            assert f"{scene.background} background" in words
        if scene.colour:
            assert f"{scene.colour} {scene.name}" in words
            assert colours.seen_colour(picture) == scene.colour


def test_a_white_thing_is_painted_where_it_is_white():
    rgba = shape("ring", (250, 250, 250), 32)
    rgba[:8, :, :3] = (22, 22, 26)  # black eyes stay
    painted = colours.paint(rgba, "red")
    assert colours.seen_colour(over_white(painted)) == "red"
    np.testing.assert_array_equal(painted[:8], rgba[:8])
    assert colours.paintable(rgba)


def test_a_thing_of_many_colours_is_not_painted():
    rgba = shape("box", (250, 250, 250), 32)
    for place, colour in enumerate([(214, 48, 48), (60, 160, 70), (48, 96, 214), (240, 200, 60)]):
        rgba[:, 8 * place : 8 * place + 8, :3] = colour
    assert not colours.paintable(rgba)


def test_a_thing_has_several_names_but_one_place_among_the_withheld():
    drawings = toy_pack(32)
    labels = tuple(
        replace(label, synonyms=("orb", "globe")) if label.name == "ball" else label
        for label in drawings.labels
    )
    composer = Composer(pack.Pack(drawings.drawings, labels), STYLES, scenes=0.5)
    random = np.random.Generator(np.random.Philox(3))
    said = [composer.sample(random)[1] for _ in range(300)]
    for word in ("ball", "orb", "globe"):
        assert any(word in caption for caption in said)
    assert {name for name, _ in composer.found} == {"ball", "box", "ring"}


@pytest.mark.parametrize(("one", "more"), [
    ("apple", "apples"), ("cherry", "cherries"), ("mouse", "mice"), ("fox", "foxes"),
    ("red cup of coffee", "red cups of coffee"), ("grapes", "grapes"), ("key", "keys"),
    ("maple leaf", "maple leaves"), ("bread", "bread"),
])  # fmt: skip
def test_plurals(one: str, more: str):
    assert plural(one) == more


@pytest.mark.parametrize(("words", "found"), [
    ("apple", "an apple"), ("unicorn", "a unicorn"), ("red grapes", "red grapes"),
    ("slice of pizza", "a slice of pizza"), ("ufo", "a ufo"), ("glass of milk", "a glass of milk"),
    ("bread", "bread"), ("pixel art", "pixel art"),
])  # fmt: skip
def test_articles(words: str, found: str):
    assert with_article(words) == found


def test_withheld_combinations_are_never_drawn():
    composer = Composer(toy_pack(), STYLES)
    random = np.random.Generator(np.random.Philox(2))
    scenes = [composer.draw_scene(random) for _ in range(500)]
    hidden = {cell for cell in composer.found if composer.hidden(*cell)}
    assert not hidden & {(scene.name, scene.style) for scene, _ in scenes}
    for scene, index in scenes:
        own = composer.pack.labels[index].colour
        assert scene.colour in (None, own) or not withheld(scene.name, scene.colour)


def test_a_tenth_is_withheld():
    share = np.mean([withheld(f"thing {i}", "cartoon") for i in range(5000)])
    assert 0.08 < share < 0.12


@pytest.mark.parametrize(("scene", "words"), [
    (Scene("apple", "cartoon"), "a cartoon of an apple"),
    (Scene("apple", "cartoon", "red", "blue"), "a cartoon of a red apple on a blue background"),
    (Scene("fox", "3d render", count=3), "a 3d render of three foxes"),
    (Scene("fox", "3d render", other="tree", relation="next to"),
     "a 3d render of a fox next to a tree"),
])  # fmt: skip
def test_scenes_in_words(scene: Scene, words: str):
    if scene.count > 1:
        assert phrase(scene) == words.removeprefix("a 3d render of ")
    else:
        assert prompt(scene) == words


def test_two_things_stand_as_the_caption_says():
    composer = Composer(toy_pack(32), STYLES)
    random = np.random.Generator(np.random.Philox(0))
    for relation, (rows, columns) in {
        "next to": (slice(None), slice(0, 16)),
        "above": (slice(0, 16), slice(None)),
        "below": (slice(16, 32), slice(None)),
    }.items():
        scene = Scene("ball", "3d render", other="box", relation=relation)
        picture = composer.paint(scene, composer.choose(scene, random), random)
        reddish = picture[..., 0].astype(int) - picture[..., 2] > 60
        assert reddish[rows, columns].sum() == reddish.sum() > 50


def test_batches_are_a_function_of_the_seed():
    composer = Composer(toy_pack(), STYLES, scenes=0.3)
    first, again, other = (make(composer, 6, seed)[0] for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_pack_reads_back(tmp_path: Path):
    drawings = toy_pack(32)
    pack.write(tmp_path / "drawings.npz", drawings)
    found = pack.read(tmp_path / "drawings.npz")
    assert found.labels == drawings.labels
    np.testing.assert_array_equal(found.drawings[..., 3], drawings.drawings[..., 3])
    shown = drawings.drawings[..., 3] > 0
    assert np.abs(found.drawings[shown].astype(int) - drawings.drawings[shown]).max() < 40
