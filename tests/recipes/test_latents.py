"""Composed latents are those of the composed pictures, and captions are words that are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_drawings import toy_pack

from recipes.mini import latents, pack
from recipes.mini.compose import Scene, withheld
from recipes.mini.config import TOY
from recipes.mini.latents import LatentComposer, open_latents, words
from recipes.mini.stream import make

CONFIG = replace(
    TOY, size=32, styles=("3d render", "flat drawing", "pixel art"), scenes=0.4, caption_length=24
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> LatentComposer:
    folder = tmp_path_factory.mktemp("latents")
    drawings = toy_pack(32)
    squares = tuple(
        replace(label, style="pixel art") for label in drawings.labels if "flat" in label.style
    )
    more = pack.Pack(
        np.concatenate([drawings.drawings, drawings.drawings[3:]]), (*drawings.labels, *squares)
    )
    pack.write(folder / "drawings.npz", more)
    return open_latents(CONFIG, folder)


@pytest.mark.parametrize("style", CONFIG.styles)
@pytest.mark.parametrize("scene", [
    Scene("ball", ""), Scene("ball", "", "green", "blue"), Scene("ring", "", None, "yellow"),
    Scene("box", "", "purple", "black", size="small"), Scene("ball", "", "red", "pink", count=3),
    Scene("ball", "", None, "white", "box", "next to"),
    Scene("box", "", "green", "gray", "ring", "below"),
])  # fmt: skip
def test_composed_latents_are_those_of_the_picture(
    scenes: LatentComposer, scene: Scene, style: str
):
    scene, random = replace(scene, style=style), np.random.Generator(np.random.Philox(0))
    index = scenes.composer.choose(scene, random)
    picture = scenes.composer.paint(scene, index, random)[None]
    wanted = scenes.components.encode(picture / np.float32(127.5) - 1)[0]
    found = scenes.latents(scene, index, random)
    np.testing.assert_allclose(found, wanted, atol=0.03)  # float16, and alpha of 8 bits


def test_samples_are_a_function_of_the_seed_and_of_known_words(scenes: LatentComposer):
    first, again = (make(scenes, 100, 5) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert first[0].shape == (100, *scenes.shape)
    assert first[1].max() < len(scenes.vocabulary)


def test_every_training_colour_is_in_the_store(scenes: LatentComposer):
    composer, rows = scenes.composer, scenes.store.rows
    for index, label in enumerate(composer.pack.labels):
        for colour in composer.paints(label.name, label.colour) if label.paintable else []:
            assert (index, None if colour == label.colour else colour) in rows
            assert colour == label.colour or not withheld(label.name, colour)


def test_a_word_that_no_caption_has_is_refused(scenes: LatentComposer):
    assert "zebra" not in words(scenes.composer)
    with pytest.raises(ValueError, match="zebra"):
        scenes.tokens("a zebra")


def test_the_store_reads_back(scenes: LatentComposer, tmp_path: Path):
    assert set(latents.LAYOUTS) == set(scenes.store.things) == set(scenes.store.grounds)
    h, w, _ = scenes.shape
    assert scenes.store.things["half"].shape[1:3] == (h // 2, w // 2)
