"""The marks of the evaluation: right for right answers, wrong for wrong ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from toy_drawings import toy_pack

from recipes.mini import frechet, sharpness
from recipes.mini.compose import Composer, Scene, prompt, withheld
from recipes.mini.judge import real
from recipes.mini.questions import PROMPTS, in_place, questions, window

COMPOSER = Composer(toy_pack(32), ("3d render", "flat drawing"), scenes=0.3)


class Nearest:
    """A judge that knows the drawings by heart: the thing of the nearest render."""

    def things(self, pictures: np.ndarray) -> list[str]:
        random = np.random.Generator(np.random.Philox(0))
        known = {
            name: real(COMPOSER, Scene(name, "3d render"), random).astype(float)
            for name in ("ball", "box", "ring")
        }
        return [
            min(known, key=lambda name: np.square(known[name] - picture).mean())
            for picture in pictures
        ]


JUDGE: Any = Nearest()


def paint(scene: Scene) -> np.ndarray:
    return real(COMPOSER, scene, np.random.Generator(np.random.Philox(0)))


@pytest.mark.parametrize("relation", ["next to", "above", "below"])
def test_a_pair_is_right_where_the_caption_says(relation: str):
    scene = Scene("ball", "3d render", other="ring", relation=relation)
    swapped = Scene("ring", "3d render", other="ball", relation=relation)
    assert in_place(paint(scene), scene, JUDGE)
    assert not in_place(paint(swapped), scene, JUDGE)


@pytest.mark.parametrize(("shown", "asked"), [(2, 2), (3, 3), (4, 4), (4, 3), (3, 4), (2, 3)])
def test_things_are_counted(shown: int, asked: int):
    picture = paint(Scene("ball", "3d render", count=shown))
    right = in_place(picture, Scene("ball", "3d render", count=asked), JUDGE)
    assert right == (shown == asked)


def test_a_window_is_a_quarter_at_full_size():
    picture = np.zeros((8, 8, 3), "uint8")
    picture[4:, 4:] = 200
    assert (window(picture, 0.5, 0.5) == 200).all()
    assert (window(picture, 0, 0) == 0).all()
    assert window(picture, 0.5, 0.25).shape == (8, 8, 3)


def test_questions_are_sorted_by_what_the_training_saw():
    asked = questions(COMPOSER, 50)
    assert all(not COMPOSER.hidden(s.name, s.style) for s in asked["seen cells"])
    assert all(COMPOSER.hidden(s.name, s.style) for s in asked["held-out cells"])
    for kind in ("seen pairs", "held-out pairs"):
        hidden = {withheld("pair", *sorted((s.name, s.other))) for s in asked[kind]}
        assert hidden <= {kind == "held-out pairs"}
    assert {s.count for s in asked["counts"]} == {2, 3, 4}
    assert "seen pairs" not in questions(Composer(toy_pack(), ("3d render",)), 5)


def test_the_sheet_has_sixty_four_prompts():
    assert len(set(PROMPTS)) == 64


def test_the_distance_of_two_normal_distributions():
    """Against the formula with a matrix root; and nothing lies between a set and itself."""
    random = np.random.default_rng(0)
    a = random.standard_normal((60, 5)) @ random.standard_normal((5, 5))
    b = random.standard_normal((80, 5)) + 1
    A, B = np.cov(a.T), np.cov(b.T)
    values, vectors = np.linalg.eigh(A)
    root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    trace = np.sqrt(np.linalg.eigvalsh(root @ B @ root)).sum()
    wanted = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(A) + np.trace(B) - 2 * trace
    assert frechet.distance(a, b) == pytest.approx(wanted, rel=1e-9)
    assert frechet.distance(a, a) == pytest.approx(0, abs=1e-9)


def test_a_style_that_cannot_be_counted_has_no_article():
    assert prompt(Scene("apple", "pixel art", "red")) == "pixel art of a red apple"
    assert prompt(Scene("scissors", "line drawing")) == "a line drawing of scissors"


def test_a_soft_edge_is_less_steep():
    sharp = np.zeros((32, 32, 3), "uint8")
    sharp[:, 16:] = 200
    soft = np.zeros((32, 32, 3), "uint8")
    soft[:, 12:20] = np.linspace(0, 200, 8).astype("uint8")[:, None]
    soft[:, 20:] = 200
    assert sharpness.steepness(sharp) == 200
    assert sharpness.steepness(soft) < 40


def test_a_mottled_ground_is_uneven_and_a_thing_on_it_is_not():
    plain = paint(Scene("ball", "3d render", background="yellow"))
    assert sharpness.unevenness(plain) < 0.5
    spots = np.random.default_rng(0).integers(-6, 7, plain.shape)
    mottled = np.clip(plain.astype(int) + spots, 0, 255).astype("uint8")
    assert sharpness.unevenness(mottled) > sharpness.EVEN
    assert sharpness.figures(np.stack([plain, mottled]))["even"] == 0.5
