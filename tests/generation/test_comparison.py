"""Comparisons of a model's pictures, and variations of a seed, by a small model."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import sfumato
from sfumato.request import RequestError
from sfumato.stable_diffusion import StableDiffusion

FIELDS = {"steps": 2, "seed": 5}


def test_a_comparison_has_the_pictures_of_each_request(model: StableDiffusion) -> None:
    grid = {"guidance": [1, 3], "prompt": ["apple", "pear"], "seed": [5, 6]}
    made = sfumato.compare(model, "an apple", grid, steps=2)
    asked = [(p.request.guidance, p.request.prompt, p.request.seed) for p in made.pictures]
    words = ("an apple", "an pear")
    assert asked == [(g, prompt, seed) for seed in (5, 6) for prompt in words for g in (1, 3)]
    (alone,) = model.generate("an pear", guidance=3, **FIELDS)
    assert np.array_equal(made.pictures[3].pixels, alone.pixels)
    sheet = made.sheet()
    assert Image.open(io.BytesIO(made._repr_png_())).size == sheet.shape[1::-1]


def test_the_seed_is_drawn_once(model: StableDiffusion) -> None:
    made = sfumato.compare(model, "a", {"steps": [1, 2], "variation_strength": [0.1, 0.2]})
    seeds = {(p.request.seed, p.request.variation_seed) for p in made.pictures}
    assert len(seeds) == 1


def test_a_comparison_is_of_one_model(model: StableDiffusion) -> None:
    with pytest.raises(RequestError, match="`model` must be that of the loaded model"):
        sfumato.compare(model, "a", {"model": ["sd1.5"]})


def test_variations_go_from_one_seed_to_the_other(model: StableDiffusion) -> None:
    one, other = (model.generate("a", steps=2, seed=seed)[0].pixels for seed in (5, 9))

    def varied(strength: float) -> np.ndarray:
        fields = {"variation_seed": 9, "variation_strength": strength}
        return model.generate("a", **FIELDS, **fields)[0].pixels

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a.astype("int16") - b).mean())

    assert np.array_equal(varied(0), one)
    assert np.abs(varied(1).astype("int16") - other).max() <= 1
    assert 0 < distance(varied(0.1), one) < distance(varied(0.5), one) < distance(other, one)


def test_a_variation_in_a_batch_is_the_one_alone(model: StableDiffusion) -> None:
    fields = {**FIELDS, "variation_strength": 0.3, "seed_resize": (64, 64)}
    batch = model.generate("a", variation_seed=7, count=2, **fields)
    (alone,) = model.generate("a", variation_seed=8, **fields)
    assert np.abs(batch[1].pixels.astype("int16") - alone.pixels).max() <= 1
    assert batch[1].request == alone.request
    (usual,) = model.generate("a", **FIELDS)
    assert not np.array_equal(batch[0].pixels, usual.pixels)
