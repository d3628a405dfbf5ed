"""Stage 3b: distil the denoiser to one that needs four steps and no guidance.

python -m recipes.mini.turbo --configuration cpu --work RUN [--minutes M]

Progressive distillation of a guided model (Salimans and Ho 2022, arXiv 2202.00512; Meng et al.
2022, arXiv 2210.03142): one step of the student goes where several guided ones of the teacher go.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from recipes.mini.config import Configuration, arguments
from recipes.mini.denoiser import alphas_cumprod, build, velocity
from recipes.mini.latents import open_latents
from recipes.mini.pool import open_pool
from recipes.mini.shipped import give, read_pieces
from recipes.mini.steps import Random
from recipes.mini.training import Trainer, load_average
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet
from sfumato.presets import PRESETS

Tensor = Any
LEVELS = 4  # steps of the distilled denoiser: the timesteps 999, 749, 499 and 249
TEACHER = 2  # steps of the teacher for each of them


def objective(
    student: UNet,
    teacher: UNet,
    text_encoder: TextEncoder,
    guidance: float,
) -> Callable:
    """(latents, noise (B, h, w, C), levels (B,), tokens, empty (B, T)) -> the loss and its parts.

    Level 0 is the student's last step, to the clean picture. All steps are DDIM's (Song et al.
    2020, arXiv 2010.02502); the loss is that of v, as in the denoiser's training.
    """
    count = LEVELS * TEACHER
    timesteps = np.arange(1, count + 1) * (1000 // count) - 1
    abar = np.concatenate([[1.0], alphas_cumprod()[timesteps]])  # the first: no noise is left
    alpha, sigma = (np.sqrt(x).astype("float32") for x in (abar, 1 - abar))

    def at(place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Alpha, sigma (B, 1, 1, 1) and timestep (B,) of places (B,) in 1..count, 0: the end."""
        a, s = (ops.take(ops.convert_to_tensor(t), place)[:, None, None, None]
                for t in (alpha, sigma))  # fmt: skip
        times = ops.convert_to_tensor(timesteps.astype("int32"))
        return a, s, ops.take(times, ops.maximum(place - 1, 0))

    def loss(latents: Tensor, noise: Tensor, levels: Tensor, tokens: Tensor, empty: Tensor):
        place = (levels + 1) * TEACHER
        wanted, unwanted = text_encoder(tokens), text_encoder(empty)
        a, s, time = at(place)
        x = y = a * latents + s * noise
        for step in range(TEACHER):
            b, r, earlier = at(place - step)
            v = velocity(teacher, y, earlier, unwanted)
            v = v + guidance * (velocity(teacher, y, earlier, wanted) - v)
            picture, rest = b * y - r * v, r * y + b * v
            b, r, _ = at(place - step - 1)
            y = b * picture + r * rest
        # The picture from which one step of DDIM, from x, leads to y, as v.
        picture = (y - r / s * x) / (b - r / s * a)
        target = ops.stop_gradient((a * x - picture) / s)
        error = ops.mean(ops.square(velocity(student, x, time, wanted) - target))
        return error, {"loss": error}

    return loss


def drawer(empty: np.ndarray) -> Callable:
    """(random numbers, latents (B, h, w, C), tokens (B, T)) -> the arguments of the loss."""

    def draw(random: Random, latents: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
        levels = random.integers(LEVELS, (len(latents),))
        nothing = ops.broadcast_to(empty, tokens.shape)
        noise = random.normal(latents.shape)
        return ops.cast(latents, "float32"), noise, levels, tokens, nothing

    return draw


def train(
    config: Configuration, work: Path, minutes: float | None = None, saved: Callable | None = None
) -> Trainer:
    """Train from the last checkpoint on, at first from the denoiser's averaged weights."""
    scenes, trained = open_latents(config, work), work / "denoiser" / "checkpoint.npz"
    student = build(config, scenes)["unet"]
    teacher, text_encoder = build(config, scenes).values()
    load_average(trained, {"unet": student})
    load_average(trained, {"unet": teacher, "text_encoder": text_encoder})
    guidance, training = PRESETS["mini"].guidance, config.turbo_training
    loss, draw = objective(student, teacher, text_encoder, guidance), drawer(scenes.empty)
    fixed, folder = (teacher, text_encoder), work / "turbo"
    trainer = Trainer({"unet": student}, draw, loss, training, folder, fixed)
    if not trainer.restore() and (pieces := read_pieces(work, "turbo")):
        give(trainer, pieces)
    opened = partial(open_latents, config, work)
    with open_pool(opened, training, trainer.step, config.workers) as pool:
        trainer.fit(pool, minutes, saved)
    return trainer


def main() -> None:
    config, work, minutes = arguments(__doc__, minutes={"type": float, "default": None})
    train(config, work, minutes)


if __name__ == "__main__":
    main()
