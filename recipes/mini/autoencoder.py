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

import numpy as np
from keras import ops

from recipes.mini import linear
from recipes.mini.compose import open_composer
from recipes.mini.config import Configuration, arguments
from recipes.mini.latents import make_components
from recipes.mini.perceptual import open_perceptual
from recipes.mini.pool import open_pool
from recipes.mini.shipped import restore
from recipes.mini.steps import Random, inferring, precision
from recipes.mini.stream import batches
from recipes.mini.training import Trainer, load_average, start
from sfumato.networks.autoencoder import ImageDecoder

log = logging.getLogger(__name__)
Tensor = Any
LATENT_NOISE = 0.15
"""Added to the decoder's latents at most, so that it forgives small errors."""


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


def drawer(components: linear.Components) -> Callable:
    """(random numbers, pictures uint8 (B, H, W, 3)) -> pictures in -1..1 and their latents
    (B, h, w, C), every picture's with noise of another strength, as the denoiser leaves some."""
    mean, matrix = map(ops.convert_to_tensor, (components.mean, components.matrix))

    def draw(random: Random, pictures: Tensor) -> tuple[Tensor, Tensor]:
        x = ops.cast(pictures, "float32") / 127.5 - 1
        z = ops.matmul(linear.patches(x, components.side, ops) - mean, matrix)
        strength = LATENT_NOISE * random.uniform((len(z), 1, 1, 1))
        return x, z + strength * random.normal(z.shape)

    return draw


def objective(decoder: ImageDecoder, config: Configuration, work: Path) -> Callable:
    """(pictures (B, H, W, 3) in -1..1, latents (B, h, w, C)) -> the loss and its parts.

    The perceptual part looks at a quarter of the pictures: it is the dearest.
    """
    weight = config.perceptual_weight
    perceptual = open_perceptual(work / "trunk.npz") if weight else None

    def loss(x: Tensor, latents: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        y = ops.cast(decoder(latents), "float32")
        error, sharpness = picture_loss(x, y)
        parts = {"error": error, "sharpness": sharpness}
        if perceptual:
            few = -(-x.shape[0] // 4)
            parts["perceptual"] = perceptual(x[:few], y[:few])
        return error + sharpness + weight * parts.get("perceptual", 0.0), parts

    return loss


def train(
    config: Configuration, work: Path, minutes: float | None = None, saved: Callable | None = None
) -> Trainer:
    """Train from the last checkpoint on; the decoder has the averaged weights then."""
    make_components(config, work)
    decoder = ImageDecoder(config.autoencoder, precision(config.dtype))
    start(decoder, 0)
    draw = drawer(linear.load(work / "components.npz"))
    loss, training = objective(decoder, config, work), config.autoencoder_training
    trainer = Trainer({"decoder": decoder}, draw, loss, training, work / "autoencoder")
    restore(trainer, "autoencoder", config, work)
    opened = partial(open_composer, config, work)
    with open_pool(opened, training, trainer.step, config.workers, most=32) as pool:
        trainer.fit(pool, minutes, saved)
    load_average(trainer.path, trainer.networks)
    return trainer


def measure(config: Configuration, work: Path, decoder: Any, count: int = 8) -> float:
    """The peak signal-to-noise ratio of reconstructions, in dB, of latents without noise."""
    components, errors = linear.load(work / "components.npz"), []
    decode = inferring(decoder)
    for (images,) in islice(batches(partial(open_composer, config, work), 8, 99), count):
        x = images.astype("float32") / 127.5 - 1
        y = decode(ops.convert_to_tensor(components.encode(x)))
        y = np.clip(ops.convert_to_numpy(ops.cast(y, "float32")), -1, 1)
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
