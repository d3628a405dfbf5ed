"""Stage 2: train the autoencoder on composed pictures.

python -m recipes.mini.autoencoder --configuration cpu --work RUN [--minutes M]
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from recipes.mini import linear
from recipes.mini.compose import open_composer
from recipes.mini.config import Configuration, arguments
from recipes.mini.stream import batches
from recipes.mini.training import Trainer, load_average, start
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder

log = logging.getLogger(__name__)
Tensor = Any
LATENT_NOISE = 0.15
"""Added to the linear encoder's latents, so that the decoder forgives small errors."""


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


def reconstruction(config: Configuration) -> Callable:
    """(pictures, reconstructions, both (B, H, W, 3)) -> the loss and its parts."""
    perceptual = None
    if config.perceptual_weight:
        from recipes.mini.perceptual import perceptual_loss as perceptual

    def loss(x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        y = ops.cast(y, "float32")
        error, sharpness = picture_loss(x, y)
        parts = {"error": error, "sharpness": sharpness}
        if perceptual:
            parts["perceptual"] = perceptual(x, y)
        return error + sharpness + config.perceptual_weight * parts.get("perceptual", 0.0), parts

    return loss


def objective(encoder: ImageEncoder, decoder: ImageDecoder, config: Configuration) -> Callable:
    """(pictures (B, H, W, 3) in -1..1, noise (B, h, w, C)) -> the loss and its parts."""
    compare = reconstruction(config)

    def loss(x: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        mean, log_variance = (ops.cast(t, "float32") for t in encoder.moments(x))
        total, parts = compare(x, decoder(mean + ops.exp(0.5 * log_variance) * noise))
        kl = 0.5 * ops.mean(ops.square(mean) + ops.exp(log_variance) - 1 - log_variance)
        return total + config.kl_weight * kl, parts | {"kl": kl}

    return loss


def decoder_objective(decoder: ImageDecoder, config: Configuration) -> Callable:
    """(pictures (B, H, W, 3) in -1..1, latents (B, h, w, C)) -> the loss and its parts."""
    compare = reconstruction(config)
    return lambda x, latents: compare(x, decoder(latents))


def pictures(config: Configuration, work: Path, seed: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Endless batches of composed pictures (B, H, W, 3) in -1..1 and noise (B, h, w, C)."""
    composer = open_composer(config, work)
    side = config.size // config.autoencoder.downsampling
    batch = config.autoencoder_training.batch
    random = np.random.Generator(np.random.Philox(seed))
    shape = (batch, side, side, config.autoencoder.latent_channels)
    for images, _ in batches(composer, batch, seed, config.workers):
        yield images.astype("float32") / 127.5 - 1, random.standard_normal(shape, "float32")


def encoded(config: Configuration, work: Path, seed: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Endless batches of pictures and their linear latents, a little noisy as the denoiser's."""
    components = linear.load(work / "components.npz")
    for x, noise in pictures(config, work, seed):
        yield x, components.encode(x) + np.float32(LATENT_NOISE) * noise


def fit_components(config: Configuration, work: Path) -> None:
    """Find the linear encoder of the configuration's pictures."""
    composer, c = open_composer(config, work), config.autoencoder
    images = np.concatenate([images for images, _ in islice(batches(composer, 100, 7), 30)])
    found = linear.fit(images / np.float32(127.5) - 1, c.downsampling, c.latent_channels)
    np.savez(work / "components.npz", **vars(found))


def build(config: Configuration) -> dict[str, Any]:
    """The networks that are trained."""
    networks: dict[str, Any] = {"decoder": ImageDecoder(config.autoencoder, config.dtype)}
    if not config.linear_encoder:
        networks["encoder"] = ImageEncoder(config.autoencoder, config.dtype)
    for seed, network in enumerate(networks.values()):
        start(network, seed)
    return networks


def train(config: Configuration, work: Path, minutes: float | None = None) -> dict[str, Any]:
    """Train from the last checkpoint on; returns the networks with their averaged weights."""
    if config.linear_encoder and not (work / "components.npz").exists():
        fit_components(config, work)
    networks = build(config)
    if config.linear_encoder:
        loss, source = decoder_objective(networks["decoder"], config), encoded
    else:
        loss, source = objective(networks["encoder"], networks["decoder"], config), pictures
    trainer = Trainer(networks, loss, config.autoencoder_training, work / "autoencoder")
    trainer.restore()
    trainer.fit(source(config, work, 1 + trainer.step), minutes)
    load_average(trainer.path, networks)
    return networks


def trained_encoder(config: Configuration, work: Path) -> Callable[[np.ndarray], np.ndarray]:
    """pictures (B, H, W, 3) in -1..1 -> latents (B, h, w, C) of variance one."""
    if config.linear_encoder:
        return linear.load(work / "components.npz").encode
    encoder = ImageEncoder(config.autoencoder, config.dtype)
    load_average(work / "autoencoder" / "checkpoint.npz", {"encoder": encoder})
    scale = json.loads((work / "autoencoder" / "measured.json").read_text())["scale"]
    encode = compiled(lambda x: encoder.moments(x)[0])
    return lambda x: scale * keras.ops.convert_to_numpy(encode(x)).astype("float32")


def compiled(function: Callable) -> Callable:
    """The function as one program under JAX; as it is under PyTorch, without gradients."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import torch

    return torch.no_grad()(function)


def measure(
    config: Configuration, work: Path, networks: dict[str, Any], count: int = 16
) -> dict[str, float]:
    """``scale``: what makes the latents' variance one. ``psnr``: of reconstructions, in dB."""
    deviations, errors = [], []
    decode = compiled(networks["decoder"])
    encode = compiled(lambda x: networks["encoder"].moments(x)[0])
    for x, z in islice((encoded if config.linear_encoder else pictures)(config, work, 99), count):
        if not config.linear_encoder:
            z = keras.ops.convert_to_numpy(encode(x))
        y = np.clip(keras.ops.convert_to_numpy(decode(z)), -1, 1)
        deviations.append(z.std())
        errors.append(np.mean(np.square((y - x) / 2)))
    scale = 1.0 if config.linear_encoder else float(1 / np.mean(deviations))
    return {"scale": scale, "psnr": float(-10 * np.log10(np.mean(errors)))}


def write_measured(work: Path, found: dict[str, float]) -> None:
    (work / "autoencoder" / "measured.json").write_text(json.dumps(found, indent=2) + "\n")


def main() -> None:
    config, work, minutes = arguments(__doc__, minutes={"type": float, "default": None})
    found = measure(config, work, train(config, work, minutes))
    write_measured(work, found)
    log.info("autoencoder: %s", found)


if __name__ == "__main__":
    main()
