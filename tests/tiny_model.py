"""A whole model of the 1.x family, small enough to be compiled in every test, on every backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from sfumato.checkpoints import Model, save_diffusers
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.configs import AutoencoderConfig, TextEncoderConfig, UNetConfig
from sfumato.networks.network import Network
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet
from sfumato.stable_diffusion import StableDiffusion

UNET = UNetConfig(
    channels=(16, 32),
    down=((1,), (0,)),
    mid=(),
    up=((0, 0), (1, 1)),
    heads=(2, 2),
    context_width=16,
    groups=8,
)
SMALLEST = UNetConfig(
    channels=(16,), down=((1,),), mid=(), up=((1, 0),), heads=(2,), context_width=16, groups=8
)
"""For what is trained or quantised: it may take the place of the model's network."""
VAE = AutoencoderConfig(channels=(8, 8, 8, 8), layers=1, groups=4)
TEXT = TextEncoderConfig(width=16, layers=2, heads=2, mlp_width=32)


def unet(seed: int = 0, config: UNetConfig = UNET) -> UNet:
    return drawn(UNet(config), seed)


def drawn(network: Any, seed: int = 0) -> Any:
    network.initialize(seed)
    return network


def save(folder: Path, **settings: Any) -> Path:
    """The model as a diffusers folder; ``settings`` are those of ``save_diffusers``."""
    parts: dict[str, Network | list[Network]] = {
        "unet": unet(),
        "vae": [drawn(ImageEncoder(VAE)), drawn(ImageDecoder(VAE))],
        "text_encoder": drawn(TextEncoder(TEXT)),
    }
    save_diffusers(folder, parts, dtype="float32", **settings)
    return folder


def load(folder: Any) -> StableDiffusion:
    """The model of a folder, or of a ``Model``, which makes pictures of 32 pixels."""
    jit_compile = keras.backend.backend() != "tensorflow"  # whose XLA takes minutes
    given = folder if isinstance(folder, Model) else str(folder)
    return StableDiffusion(32, 32, jit_compile, preset=given)


def used(folder: Path) -> StableDiffusion:
    """The model of a new folder, after its first picture: its programs are there."""
    model = load(save(folder / "model"))
    paint(model)
    return model


@contextmanager
def lent(model: StableDiffusion) -> Iterator[StableDiffusion]:
    """The model for a test, which may assign to it: its parts and their programs come back."""
    parts = model.parts
    own, programs = {**vars(model)}, {**parts._programs}
    before = {**vars(parts), "_programs": programs}
    yield model
    for each, attributes in ((model, own), (parts, before)):
        vars(each).clear()
        vars(each).update(attributes)


def paint(model: StableDiffusion, prompt: str = "a red apple", **options: Any) -> np.ndarray:
    """One picture of two steps, uint8 (32, 32, 3)."""
    return model.text_to_image(prompt, **{"num_steps": 2, "seed": 5, "verbose": False, **options})[
        0
    ]


def training(count: int = 4) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Inputs and answers for ``UNet.fit``."""
    random = np.random.default_rng(0)
    shapes = {"latent": (4, 4, 4), "timestep_embedding": (16,), "context": (77, 16)}
    x = {n: random.standard_normal((count, *s)).astype("float32") for n, s in shapes.items()}
    return x, random.standard_normal((count, 4, 4, 4)).astype("float32")
