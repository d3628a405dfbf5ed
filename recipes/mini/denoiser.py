"""Stage 3: train the text encoder and the denoiser together, on latents and captions.

python -m recipes.mini.denoiser --configuration cpu --work RUN [--minutes M]
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from recipes.mini.config import Configuration, arguments
from recipes.mini.latents import LatentComposer, open_latents
from recipes.mini.pool import open_pool
from recipes.mini.shipped import restore
from recipes.mini.steps import Random, precision
from recipes.mini.training import TOKENS, Trainer, start
from recipes.mini.words import teach
from sfumato.diffusion.schedules import training_sigmas
from sfumato.networks.denoiser import Conditioning, Memory
from sfumato.networks.layers import timestep_embedding
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet

log = logging.getLogger(__name__)
Tensor = Any
SNR_LIMIT = 5.0
UNCONDITIONAL = 0.1  # the share of samples whose caption is empty, for guidance


def alphas_cumprod() -> np.ndarray:
    """How much of the picture's variance is left at every timestep, float64 (1000,).

    Stable Diffusion's schedule with its last step made pure noise: pictures with a white or a
    black ground need it, because noise that still knew their mean would give it away (Lin et al.
    2023, arXiv 2305.08891).
    """
    return 1 / (1 + training_sigmas(zero_terminal_snr=True) ** 2)


def drawer(empty: np.ndarray) -> Callable:
    """(random numbers, latents (B, h, w, C), tokens (B, T)) -> the arguments of the loss; some
    captions are exchanged for the ``empty`` one (T,), for guidance."""

    def draw(random: Random, latents: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
        B = len(latents)
        is_dropped = random.uniform((B, 1)) < UNCONDITIONAL
        # Timesteps in equal parts of the schedule: the loss of a batch varies less.
        places = (ops.arange(B, dtype="float32") + random.uniform((B,))) / B
        timesteps = ops.minimum(ops.cast(places * 1000, "int32"), 999)  # 1: rounded up
        return (
            ops.cast(latents, "float32"),
            random.normal(latents.shape),
            timesteps,
            ops.where(is_dropped, empty, tokens),
        )

    return draw


def objective(unet: UNet, text_encoder: TextEncoder) -> Callable:
    """(latents, noise (B, h, w, C), timesteps (B,), tokens (B, T)) -> the loss and its parts.

    The network predicts v = alpha noise - sigma latents (Salimans and Ho 2022, arXiv 2202.00512);
    timesteps weigh as min(SNR + 1, 5) / (SNR + 1): Salimans and Ho's weights, which do not vanish
    where the noise is strongest and the caption is all there is to go by, limited as by Hang et
    al. 2023 (arXiv 2303.09556) where the noise is weakest.
    """
    abar = alphas_cumprod()
    alpha, sigma = (np.sqrt(x).astype("float32") for x in (abar, 1 - abar))
    snr = abar / (1 - abar)
    weights = (np.minimum(snr + 1, SNR_LIMIT) / (snr + 1)).astype("float32")

    def loss(latents: Tensor, noise: Tensor, timesteps: Tensor, tokens: Tensor) -> tuple:
        a, s, w = (ops.take(ops.convert_to_tensor(t), timesteps) for t in (alpha, sigma, weights))
        a, s = a[:, None, None, None], s[:, None, None, None]
        v = velocity(unet, a * latents + s * noise, timesteps, text_encoder(tokens))
        errors = ops.mean(ops.square(v - (a * noise - s * latents)), (1, 2, 3))
        weighted = ops.mean(w * errors)
        return weighted, {"loss": weighted, "error": ops.mean(errors)}

    return loss


def velocity(unet: UNet, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
    """The network's v (B, h, w, C), float32, for x at timesteps (B,) and context (B, T, C)."""
    time = timestep_embedding(timesteps, unet.config.channels[0])
    memories = [[stretch(memory) for memory in layer] for layer in unet.prepare(context).memories]
    return ops.cast(unet.predict(x, time, Conditioning(memories)).answer, "float32")


def stretch(memory: Memory) -> Memory:
    """Keys and values of the caption's tokens, to those of all 77: the last one again and again.

    The last token of a caption is padding, and so are all behind it. Their positions get the same
    embedding in the export, so that the encoder gives for each (nearly) what it gives for one.
    """
    missing = TOKENS - memory.keys.shape[1]
    keys, values = (
        ops.concatenate([x, ops.repeat(x[:, -1:], missing, axis=1)], axis=1)
        for x in (memory.keys, memory.values)
    )
    return Memory(keys, values)


def build(config: Configuration, scenes: LatentComposer) -> dict[str, Any]:
    """The two networks. While training, the text encoder knows the words of the captions alone;
    the export gives every other word of the vocabulary an embedding of zeros."""
    words = replace(
        config.text_encoder, vocabulary=len(scenes.vocabulary), length=config.caption_length
    )
    networks = {
        "unet": UNet(config.unet, precision(config.dtype)),
        "text_encoder": TextEncoder(words),
    }
    for seed, network in enumerate(networks.values(), 10):
        start(network, seed)
    return networks


def train(
    config: Configuration, work: Path, minutes: float | None = None, saved: Callable | None = None
) -> Trainer:
    """Train from the last checkpoint on; the latents are made when they are not there."""
    scenes = open_latents(config, work)
    networks = build(config, scenes)
    text_encoder, training = networks["text_encoder"], config.denoiser_training
    loss = objective(networks["unet"], text_encoder)
    trainer = Trainer(networks, drawer(scenes.empty), loss, training, work / "denoiser")
    is_new = not restore(trainer, "denoiser", config, work, scenes.vocabulary)
    opened = partial(open_latents, config, work)
    with open_pool(opened, training, trainer.step, config.workers) as pool:
        if is_new:
            teach(text_encoder, pool, scenes.shape, config, work / "words")
            trainer.begin()
        trainer.fit(pool, minutes, saved)
    return trainer


def main() -> None:
    config, work, minutes = arguments(__doc__, minutes={"type": float, "default": None})
    train(config, work, minutes)


if __name__ == "__main__":
    main()
