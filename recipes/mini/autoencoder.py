"""Stage 2: find the linear encoder, and train the decoder on composed pictures.

python -m recipes.mini.autoencoder --configuration cpu --work RUN [--minutes M]
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from recipes.mini import linear
from recipes.mini.compose import open_composer
from recipes.mini.config import Configuration, arguments
from recipes.mini.latents import make_components
from recipes.mini.makers import open_encoded
from recipes.mini.shipped import restore
from recipes.mini.stream import batches, pooled
from recipes.mini.training import Trainer, load_average, prepare, start
from sfumato.networks.autoencoder import ImageDecoder

log = logging.getLogger(__name__)
Tensor = Any
POOL = 8192  # pictures that an accelerator draws from while new ones are composed


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbouring pixels, along the height and along the width."""
    return x[:, 1:] - x[:, :-1], x[:, :, 1:] - x[:, :, :-1]


def shrink(x: Tensor) -> Tensor:
    return ops.average_pool(x, 2, 2, data_format="channels_last")


def picture_loss(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """How far y is from x, (B, H, W, 3): mean error, and error of the edges at three scales."""
    error = ops.mean(ops.abs(x - y)) + ops.mean(ops.square(x - y))
    sharpness = 0.0
    for _ in range(3):
        pairs = zip(edges(x), edges(y), strict=True)
        sharpness = sharpness + sum(ops.mean(ops.abs(a - b)) for a, b in pairs)
        x, y = shrink(x), shrink(y)
    return error, sharpness


def objective(decoder: ImageDecoder, config: Configuration) -> Callable:
    """(pictures (B, H, W, 3) in -1..1, latents (B, h, w, C)) -> the loss and its parts."""
    perceptual = None
    if config.perceptual_weight:
        from recipes.mini.perceptual import perceptual_loss as perceptual

    def loss(x: Tensor, latents: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        y = ops.cast(decoder(latents), "float32")
        error, sharpness = picture_loss(x, y)
        parts = {"error": error, "sharpness": sharpness}
        if perceptual:
            parts["perceptual"] = perceptual(x, y)
        return error + sharpness + config.perceptual_weight * parts.get("perceptual", 0.0), parts

    return loss


def train(config: Configuration, work: Path, minutes: float | None = None) -> Trainer:
    """Train from the last checkpoint on; the decoder has the averaged weights then."""
    prepare(config)
    make_components(config, work)
    decoder = ImageDecoder(config.autoencoder, config.dtype)
    start(decoder, 0)
    training, loss = config.autoencoder_training, objective(decoder, config)
    trainer = Trainer({"decoder": decoder}, loss, training, work / "autoencoder", config.fused)
    restore(trainer, "autoencoder", config, work)
    opened = partial(open_encoded, config, work)
    source = batches(opened, training.batch, 1 + trainer.step, config.workers)
    trainer.fit(pooled(source, POOL, trainer.step) if config.workers else source, minutes)
    load_average(trainer.path, trainer.networks)
    return trainer


def compiled(function: Callable) -> Callable:
    """The function as one program under JAX; as it is under PyTorch, without gradients."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import torch

    return torch.no_grad()(function)


def measure(config: Configuration, work: Path, decoder: Any, count: int = 8) -> float:
    """The peak signal-to-noise ratio of reconstructions, in dB, of latents without noise."""
    components, decode, errors = linear.load(work / "components.npz"), compiled(decoder), []
    for images, _ in islice(batches(partial(open_composer, config, work), 8, 99), count):
        x = images.astype("float32") / 127.5 - 1
        y = np.clip(keras.ops.convert_to_numpy(decode(components.encode(x))), -1, 1)
        errors.append(np.mean(np.square((y - x) / 2)))
    return float(-10 * np.log10(np.mean(errors)))


def write_measured(work: Path, psnr: float) -> None:
    found = json.dumps({"psnr": psnr}, indent=2)
    (work / "autoencoder" / "measured.json").write_text(found + "\n")


def main() -> None:
    config, work, minutes = arguments(__doc__, minutes={"type": float, "default": None})
    psnr = measure(config, work, train(config, work, minutes).networks["decoder"])
    write_measured(work, psnr)
    log.info("autoencoder: %.2f dB", psnr)


if __name__ == "__main__":
    main()
