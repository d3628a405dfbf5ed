"""Stage 3: train the text encoder and the denoiser together, on latents and captions.

python -m recipes.mini.denoiser --configuration cpu --work RUN [--minutes M]
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from recipes.mini.bank import Bank, make_bank, read_bank
from recipes.mini.config import Configuration, arguments
from recipes.mini.training import Trainer, start
from recipes.mini.words import teach
from sfumato.diffusion.schedules import training_sigmas
from sfumato.networks.denoiser import Conditioning, Memory
from sfumato.networks.layers import timestep_embedding
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet

log = logging.getLogger(__name__)
Tensor = Any
UNCONDITIONAL = 0.1  # the share of samples whose caption is empty, for guidance
SNR_LIMIT = 5.0
TOKENS = 77


def alphas_cumprod() -> np.ndarray:
    """How much of the picture's variance is left at every timestep, float64 (1000,).

    Stable Diffusion's schedule with its last step made pure noise: pictures with a white or a
    black ground need it, because noise that still knew their mean would give it away (Lin et al.
    2023, arXiv 2305.08891).
    """
    return 1 / (1 + training_sigmas(zero_terminal_snr=True) ** 2)


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
        ops.concatenate([x, *[x[:, -1:]] * missing], axis=1) for x in (memory.keys, memory.values)
    )
    return Memory(keys, values)


def samples(bank: Bank, batch: int, seed: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Endless batches of what the objective takes, drawn from the bank."""
    random = np.random.Generator(np.random.Philox(seed))
    while True:
        chosen = random.integers(len(bank.latents), size=batch)
        latents = bank.latents[chosen].astype("float32")
        tokens = bank.tokens[chosen].astype("int32")
        tokens[random.random(batch) < UNCONDITIONAL] = bank.empty
        # Timesteps in equal parts of the schedule: the loss of a batch varies less.
        spread = (np.arange(batch) + random.random(batch)) / batch
        timesteps = (random.permutation(spread) * 1000).astype("int32")
        yield latents, random.standard_normal(latents.shape, "float32"), timesteps, tokens


def build(config: Configuration, bank: Bank) -> dict[str, Any]:
    """The two networks. While training, the text encoder knows the words of the captions alone;
    the export gives every other word of the vocabulary an embedding of zeros."""
    words = replace(
        config.text_encoder, vocabulary=len(bank.vocabulary), length=config.caption_length
    )
    networks = {"unet": UNet(config.unet, config.dtype), "text_encoder": TextEncoder(words)}
    for seed, network in enumerate(networks.values(), 10):
        start(network, seed)
    return networks


def train(config: Configuration, work: Path, minutes: float | None = None) -> Trainer:
    """Train from the last checkpoint on; the bank is made when it is not there."""
    made = (work / "bank.npz").exists()
    bank = read_bank(work / "bank.npz") if made else make_bank(config, work)
    networks = build(config, bank)
    text_encoder = networks["text_encoder"]
    loss = objective(networks["unet"], text_encoder)
    if not (work / "denoiser" / "checkpoint.npz").exists():
        teach(text_encoder, bank, config.words_training, work / "words")
    trainer = Trainer(networks, loss, config.denoiser_training, work / "denoiser")
    trainer.restore()
    trainer.fit(samples(bank, config.denoiser_training.batch, trainer.step), minutes)
    return trainer


def main() -> None:
    config, work, minutes = arguments(__doc__, minutes={"type": float, "default": None})
    train(config, work, minutes)


if __name__ == "__main__":
    main()
