"""Animations of pictures that are made in several batches."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from PIL import Image

from sfumato.cli.film import Film, _enlarged


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
