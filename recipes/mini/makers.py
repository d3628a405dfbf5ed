"""What the trainings read: batches as a function of random numbers, made without Keras, so that
worker processes start at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recipes.mini import linear
from recipes.mini.compose import Composer, open_composer
from recipes.mini.config import Configuration
from recipes.mini.latents import LatentComposer, open_latents

LATENT_NOISE = 0.15
"""Added to the decoder's latents at most, so that it forgives small errors."""
UNCONDITIONAL = 0.1  # the share of samples whose caption is empty, for guidance
LEVELS = 4  # steps of the distilled denoiser: the timesteps 999, 749, 499 and 249


@dataclass(frozen=True)
class Encoded:
    """Makes batches of pictures (B, H, W, 3) in -1..1 and their latents (B, h, w, C), every
    picture's with noise of another strength, as the denoiser leaves some."""

    composer: Composer
    components: linear.Components

    def batch(self, random: np.random.Generator, size: int) -> tuple[np.ndarray, ...]:
        x = self.composer.batch(random, size)[0].astype("float32") / 127.5 - 1
        z = self.components.encode(x)
        strength = np.float32(LATENT_NOISE) * random.random((size, 1, 1, 1), "float32")
        return x, z + strength * random.standard_normal(z.shape, "float32")


def open_encoded(config: Configuration, work: Path) -> Encoded:
    return Encoded(open_composer(config, work), linear.load(work / "components.npz"))


@dataclass(frozen=True)
class Noisy:
    """Makes batches of what the objective takes."""

    scenes: LatentComposer

    def batch(self, random: np.random.Generator, size: int) -> tuple[np.ndarray, ...]:
        latents, tokens = self.scenes.batch(random, size)
        tokens[random.random(size) < UNCONDITIONAL] = self.scenes.empty
        # Timesteps in equal parts of the schedule: the loss of a batch varies less.
        spread = (np.arange(size) + random.random(size)) / size
        timesteps = (random.permutation(spread) * 1000).astype("int32")
        return latents, random.standard_normal(latents.shape, "float32"), timesteps, tokens


def open_noisy(config: Configuration, work: Path) -> Noisy:
    return Noisy(open_latents(config, work))


@dataclass(frozen=True)
class Levels:
    """Makes batches of what the objective takes."""

    scenes: LatentComposer

    def batch(self, random: np.random.Generator, size: int) -> tuple[np.ndarray, ...]:
        latents, tokens = self.scenes.batch(random, size)
        noise = random.standard_normal(latents.shape, "float32")
        levels = random.integers(LEVELS, size=size).astype("int32")
        return latents, noise, levels, tokens, np.tile(self.scenes.empty, (size, 1))


def open_levels(config: Configuration, work: Path) -> Levels:
    return Levels(open_latents(config, work))
