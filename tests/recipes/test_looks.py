"""Looks that are made from flat drawings show what their names say, and pictures keep to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from toy_drawings import shape

from recipes.mini import colours
from recipes.mini.compose import Composer, Scene
from recipes.mini.looks import INK, LOOKS, SQUARES, line_drawing, silhouette
from recipes.mini.pack import Pack, label_of

BALL = shape("ball", (214, 48, 48), 64)


def test_a_line_drawing_is_white_with_black_edges():
    drawn = line_drawing(BALL).astype(int)
    assert (drawn[32, 32] == 255).all()
    edge = np.argmax(BALL[32, :, 3] > 0)
    np.testing.assert_array_equal(drawn[32, edge], [*INK, 255])
    assert drawn[0, 0, 3] == 0


def test_a_line_drawing_has_lines_inside_the_thing_too():
    two = BALL.copy()
    two[:32, :, :3] = (60, 160, 70)
    assert (line_drawing(two)[32, 20:44, :3] == INK).all()
    assert (line_drawing(BALL)[32, 20:44, :3] == 255).all()


def test_a_silhouette_is_the_shape_in_black():
    drawn = silhouette(BALL)
    np.testing.assert_array_equal(drawn[..., 3], BALL[..., 3])
    assert (drawn[..., :3] == INK).all()
    assert label_of(drawn, "ball", "silhouette", "0").colour == "black"


def test_pixel_art_is_made_of_squares_of_one_colour():
    label = label_of(BALL, "ball", "pixel art", "0")
    composer = Composer(Pack(BALL[None], (label,)), ("pixel art",))
    random = np.random.Generator(np.random.Philox(0))
    for scene in (Scene("ball", "pixel art"), Scene("ball", "pixel art", "blue", "green", count=3)):
        picture = composer.paint(scene, 0, random)
        each = len(picture) // SQUARES
        corners = picture[::each, ::each]
        np.testing.assert_array_equal(picture, corners.repeat(each, 0).repeat(each, 1))
        assert colours.seen_background(picture) == scene.background
    assert colours.seen_colour(picture) == "blue"


def test_every_look_keeps_the_form_of_a_drawing():
    for make in LOOKS.values():
        drawn = make(BALL)
        assert (drawn.shape, drawn.dtype) == (BALL.shape, BALL.dtype)


def test_lines_at_the_edge_of_a_drawing_are_whole(monkeypatch):
    """A thing that fills its drawing has lines as thick there as elsewhere."""
    from dataclasses import replace

    from recipes.mini import data
    from recipes.mini.config import TOY

    full = np.full((256, 256, 4), 255, "uint8")
    full[..., :3] = (214, 48, 48)
    monkeypatch.setattr(data, "draw", lambda *args: full)
    config = replace(TOY, size=128, styles=("flat drawing", "line drawing"))
    source = next(source for source in data.SOURCES if source.style == "flat drawing")
    _, (_, drawn) = data.looks_of(source, None, "0", {}, config)  # type: ignore[arg-type]
    dark = (drawn[64, :, :3] < 60).all(-1)
    assert dark[:2].all()
    assert 2 <= dark[:64].sum() == dark[64:].sum() < 8


def test_the_data_stage_makes_every_look_of_every_flat_drawing(monkeypatch, tmp_path: Path):
    from dataclasses import replace

    from recipes.mini import data
    from recipes.mini.concepts import Concept
    from recipes.mini.config import TOY

    (tmp_path / "data-by-emoji.json").write_text("{}")
    monkeypatch.setattr(data, "fetch", lambda source, folder: tmp_path)
    monkeypatch.setattr(data.concepts, "curated", lambda: [Concept("ball", ("0",))])
    monkeypatch.setattr(data, "draw", lambda *args: shape("ball", (214, 48, 48), args[-1]))
    config = replace(TOY, styles=("flat drawing", *LOOKS))
    made = [(label.style, rgba.shape) for rgba, label in data.collect(config, tmp_path)]
    assert made == [(style, (16, 16, 4)) for style in config.styles]
