"""A small dual encoder, trained on real renders alone: which prompt does a picture show?

It is CLIP's idea (Radford et al. 2021, arXiv 2103.00020) at the size of this data, and it judges
the generated pictures by the rank of their prompt among all prompts.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from recipes.mini.colours import BACKGROUNDS
from recipes.mini.compose import Composer, Scene, prompt
from sfumato.text.tokenizer import Tokenizer

log = logging.getLogger(__name__)
WIDTH = 96
WORDS = 24
SIDE = 64  # of what it looks at, in pixels


def small_composer(composer: Composer) -> Composer:
    """Draws what `composer` draws, at the size that the judge looks at: it learns sooner."""
    return Composer(composer.pack.small(SIDE), composer.styles, composer.scenes)


def picture_tower() -> keras.Model:
    """uint8-like pictures (B, SIDE, SIDE, 3) in -1..1 -> unit vectors (B, WIDTH)."""
    inputs = x = keras.Input((SIDE, SIDE, 3))
    for width in (24, 48, 96, 128):
        x = keras.layers.Conv2D(width, 3, 2, "same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.Dense(WIDTH)(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.UnitNormalization()(x))


def text_tower(words: int) -> keras.Model:
    """Rows of words (B, WORDS), 0 for none -> unit vectors (B, WIDTH)."""
    inputs = keras.Input((WORDS,), dtype="int32")
    x = keras.layers.Embedding(words, WIDTH, mask_zero=True)(inputs)
    x = keras.layers.GlobalAveragePooling1D()(x)
    x = keras.layers.Dense(WIDTH, "relu")(x)
    return keras.Model(inputs, keras.layers.UnitNormalization()(keras.layers.Dense(WIDTH)(x)))


class Contrast(keras.Model):
    """Both towers, trained so that a picture is nearest to its own caption of the batch."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.pictures, self.texts = picture_tower(), text_tower(words)

    def call(self, inputs: tuple) -> Any:
        return 20.0 * ops.matmul(self.pictures(inputs[0]), ops.transpose(self.texts(inputs[1])))


class Judge:
    """Scores pictures against prompts.

    Args:
        composer: draws every cell, also those withheld from the generator.
    """

    def __init__(self, composer: Composer, seed: int = 0) -> None:
        self.composer, self.tokenizer = small_composer(composer), Tokenizer()
        self.random = np.random.Generator(np.random.Philox(seed))
        keras.utils.set_random_seed(seed)
        texts = [prompt(Scene(*cell)) for cell in composer.found]
        texts += [f"a {colour} background on" for colour in BACKGROUNDS]
        ids = {i for text in texts for i in self.tokenizer.encode(text)}
        self.rows = {token: row for row, token in enumerate(sorted(ids), 1)}
        self.model = Contrast(len(self.rows) + 1)

    def words(self, texts: list[str]) -> np.ndarray:
        """(B, WORDS) rows of known words, without the marks of start and end."""
        table = np.zeros((len(texts), WORDS), "int32")
        for row, text in enumerate(texts):
            known = [self.rows.get(i, 0) for i in self.tokenizer.encode(text)[1:-1]][:WORDS]
            table[row, : len(known)] = known
        return table

    def batch(self, size: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """Different cells in one batch, in their own colours, on any background."""
        cells = list(self.composer.found)
        chosen = self.random.choice(len(cells), min(size, len(cells)), replace=False)
        images, texts = [], []
        for cell in (cells[i] for i in chosen):
            ground = str(self.random.choice(list(BACKGROUNDS)))
            scene = Scene(*cell, background=ground if self.random.random() < 0.3 else "white")
            images.append(real(self.composer, scene, self.random))
            texts.append(prompt(Scene(*cell)))
        noisy = shrink(np.stack(images))
        noisy = noisy + 0.1 * self.random.standard_normal(noisy.shape, "float32")
        return (noisy, self.words(texts)), np.arange(len(texts))

    def train(self, steps: int, size: int = 96) -> None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(keras.optimizers.Adam(2e-3), loss)
        for step in range(steps):
            found = self.model.train_on_batch(*self.batch(size))
            if step % 100 == 99:
                log.info("judge: step %d, loss %.3f", step + 1, float(np.ravel(found)[0]))

    def scores(self, pictures: np.ndarray, prompts: list[str]) -> np.ndarray:
        """How well each picture (B, H, W, 3) fits each prompt: float32 (B, P), in -1..1."""
        x = self.model.pictures(shrink(pictures), training=False)
        y = self.model.texts(self.words(prompts), training=False)
        return ops.convert_to_numpy(ops.matmul(x, ops.transpose(y)))

    def retrieval(self, pictures: np.ndarray, scenes: list[Scene]) -> dict[str, float]:
        """How often the own prompt is the best, or among the five best, of all cells' prompts;
        ``thing``: how often the best one names the right thing, in whatever style."""
        cells = list(self.composer.found)
        scores = self.scores(pictures, [prompt(Scene(*cell)) for cell in cells])
        own = [cells.index((scene.name, scene.style)) for scene in scenes]
        rank = (scores > scores[np.arange(len(own)), own][:, None]).sum(1)
        best = self.things(pictures)
        things = [name == scene.name for name, scene in zip(best, scenes, strict=True)]
        return {
            "top1": float(np.mean(rank < 1)),
            "top5": float(np.mean(rank < 5)),
            "thing": float(np.mean(things)),
        }

    def things(self, pictures: np.ndarray) -> list[str]:
        """What each picture (B, H, W, 3) shows, in whatever style."""
        cells = list(self.composer.found)
        scores = self.scores(pictures, [prompt(Scene(*cell)) for cell in cells])
        return [cells[index][0] for index in scores.argmax(1)]

    def train_or_load(self, path: Path, steps: int) -> None:
        """Train, or take the weights of an earlier evaluation of the same drawings."""
        if path.exists():
            self.model(self.batch(2)[0])  # gives the variables their shapes
            self.model.load_weights(path)
        else:
            self.train(steps)
            self.model.save_weights(path)


def real(composer: Composer, scene: Scene, random: np.random.Generator) -> np.ndarray:
    """A render of a scene, uint8 (size, size, 3)."""
    return composer.paint(scene, composer.choose(scene, random), random)


def shrink(pictures: np.ndarray) -> np.ndarray:
    """uint8 (B, H, W, 3), H a multiple of SIDE or a part of it -> (B, SIDE, SIDE, 3) in -1..1."""
    B, H, W, C = pictures.shape
    if H < SIDE:
        pictures = pictures.repeat(SIDE // H, 1).repeat(SIDE // W, 2)
        H = W = SIDE
    x = pictures.reshape(B, SIDE, H // SIDE, SIDE, W // SIDE, C).mean((2, 4), dtype="float32")
    return x / 127.5 - 1
