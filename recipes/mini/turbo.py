"""Stage 3b: distil the denoiser to one that needs four steps and no guidance.

python -m recipes.mini.turbo --configuration cpu --work RUN [--minutes M]

Latent consistency distillation (Luo et al. 2023, arXiv 2310.04378): the student gives from every
noise level the picture that the teacher, with guidance, would arrive at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from recipes.mini.bank import Bank, read_bank
from recipes.mini.config import Configuration, arguments
from recipes.mini.denoiser import alphas_cumprod, build, velocity
from recipes.mini.training import Trainer, fuse_group_norm, load_average
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet
from sfumato.presets import PRESETS

Tensor = Any
LEVELS = 50  # noise levels that the student learns: what the lcm schedule chooses from
ROUND = 0.1  # distance below which the loss is square


def objective(student: UNet, teacher: UNet, text_encoder: TextEncoder, guidance: float) -> Callable:
    """(latents, noise (B, h, w, C), levels (B,), tokens, empty (B, T)) -> the loss and its parts.

    From level n the teacher takes one guided step of DDIM (Song et al. 2020, arXiv 2010.02502) to
    level n - 1, and what the student makes of that is what it has to make of level n. The target
    is the student's own, without an average (Song and Dhariwal 2023, arXiv 2310.14189), and so is
    the loss, a distance that is rounded at zero.
    """
    timesteps = np.arange(1, LEVELS + 1) * (1000 // LEVELS) - 1
    abar = alphas_cumprod()[timesteps]
    alpha, sigma = (np.sqrt(x).astype("float32") for x in (abar, 1 - abar))

    def look_up(table: np.ndarray, levels: Tensor) -> Tensor:
        return ops.take(ops.convert_to_tensor(table), levels)[:, None, None, None]

    def loss(latents: Tensor, noise: Tensor, levels: Tensor, tokens: Tensor, empty: Tensor):
        def at(levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            time = ops.take(ops.convert_to_tensor(timesteps.astype("int32")), levels)
            return look_up(alpha, levels), look_up(sigma, levels), time

        a, s, time = at(levels)
        context = text_encoder(tokens)
        x = a * latents + s * noise
        wanted = velocity(teacher, x, time, context)
        unwanted = velocity(teacher, x, time, text_encoder(empty))
        v = unwanted + guidance * (wanted - unwanted)
        picture, rest = a * x - s * v, s * x + a * v
        b, r, earlier = at(ops.maximum(levels - 1, 0))
        y = b * picture + r * rest
        target = b * y - r * velocity(student, y, earlier, context)
        first = ops.cast(levels == 0, "float32")[:, None, None, None]
        target = ops.stop_gradient(first * picture + (1 - first) * target)
        guess = a * x - s * velocity(student, x, time, context)
        distance = ops.sqrt(ops.mean(ops.square(guess - target), (1, 2, 3)) + ROUND**2) - ROUND
        return ops.mean(distance), {"loss": ops.mean(distance)}

    return loss


def samples(bank: Bank, batch: int, seed: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Endless batches of what the objective takes, drawn from the bank."""
    random = np.random.Generator(np.random.Philox(seed))
    empty = np.broadcast_to(bank.empty, (batch, len(bank.empty))).astype("int32")
    while True:
        chosen = random.integers(len(bank.latents), size=batch)
        latents = bank.latents[chosen].astype("float32")
        noise = random.standard_normal(latents.shape, "float32")
        levels = random.integers(LEVELS, size=batch).astype("int32")
        yield latents, noise, levels, bank.tokens[chosen].astype("int32"), empty


def train(config: Configuration, work: Path, minutes: float | None = None) -> Trainer:
    """Train from the last checkpoint on, at first from the denoiser's averaged weights."""
    fuse_group_norm()
    bank, trained = read_bank(work / "bank.npz"), work / "denoiser" / "checkpoint.npz"
    student = build(config, bank)["unet"]
    teacher, text_encoder = build(config, bank).values()
    load_average(trained, {"unet": student})
    load_average(trained, {"unet": teacher, "text_encoder": text_encoder})
    teacher.trainable = text_encoder.trainable = False
    loss = objective(student, teacher, text_encoder, PRESETS["mini"].guidance)
    trainer = Trainer({"unet": student}, loss, config.turbo_training, work / "turbo")
    trainer.restore()
    trainer.fit(samples(bank, config.turbo_training.batch, trainer.step), minutes)
    return trainer


def main() -> None:
    config, work, minutes = arguments(__doc__, minutes={"type": float, "default": None})
    train(config, work, minutes)


if __name__ == "__main__":
    main()
