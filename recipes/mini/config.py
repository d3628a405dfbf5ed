"""The two sizes of the recipe, and a toy for the tests."""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from recipes.mini.looks import LOOKS
from recipes.mini.sources import STYLES
from sfumato.networks.configs import AutoencoderConfig, TextEncoderConfig, UNetConfig


@dataclass(frozen=True)
class Training:
    """One stage of training: ``steps`` of ``batch`` samples at a peak rate of ``rate``, or as many
    as ``minutes`` allow."""

    steps: int
    batch: int
    rate: float
    minutes: float = 1e6
    warmup: int = 200
    decay: float = 0.3
    """The part of the training, at the end, over which the rate falls to zero."""
    ema: float = 0.999
    minutes_per_checkpoint: float = 5.0
    chunk: int = 5
    """Steps of one call of the program."""
    pool: int = 4096
    """Samples on the device, from which the steps draw."""
    least: int = 0
    """Samples that have to be there before the first step."""


@dataclass(frozen=True)
class Configuration:
    """Everything that distinguishes one run of the recipe from another."""

    name: str
    size: int
    styles: tuple[str, ...]
    scenes: float
    """The share of pictures that show several things, with a caption of how they stand."""
    autoencoder: AutoencoderConfig
    unet: UNetConfig
    text_encoder: TextEncoderConfig
    autoencoder_training: Training
    denoiser_training: Training
    words_training: Training
    turbo_training: Training
    caption_length: int = 24
    """Tokens of the longest caption. The training computes no more; the rest is padding."""
    perceptual_weight: float = 0.0
    dtype: str = "float32"
    shipped: str = ""
    """The preset whose weights the training begins with, where they fit and there are no others."""
    workers: int = 0
    """Processes that compose pictures; 0: the training does it itself."""


CPU = Configuration(
    name="cpu",
    size=256,
    styles=(*STYLES, *LOOKS),
    scenes=0.3,
    autoencoder=AutoencoderConfig((16, 16, 32, 64, 128, 136), 1, 64, 4, 1.0),
    unet=UNetConfig(
        in_channels=64,
        out_channels=64,
        channels=(128, 192),
        down=((1,), (1,)),
        mid=(1, 0),
        up=((1, 1), (1, 0)),
        heads=(4, 6),
        context_width=160,
        linear_projection=True,
    ),
    text_encoder=TextEncoderConfig(160, 3, 5, 640, "gelu"),
    autoencoder_training=Training(10_000, 8, 2e-3, warmup=50),
    denoiser_training=Training(12_000, 64, 1.2e-3, warmup=200),
    words_training=Training(2_500, 128, 2e-3, warmup=50),
    turbo_training=Training(1_200, 64, 3e-4, warmup=10, ema=0.98),
    shipped="mini",
)
GPU = replace(
    CPU,
    name="gpu",
    autoencoder_training=Training(
        30_000,
        64,
        2e-3,
        2.0,
        ema=0.9985,
        minutes_per_checkpoint=0.5,
        chunk=20,
        pool=24_000,
        least=2_000,
    ),
    denoiser_training=Training(
        60_000,
        256,
        1.2e-3,
        2.5,
        ema=0.9995,
        minutes_per_checkpoint=0.5,
        chunk=50,
        pool=600_000,
        least=20_000,
    ),
    words_training=Training(2_000, 256, 2e-3, chunk=100),
    turbo_training=Training(
        6_000,
        256,
        3e-4,
        0.6,
        warmup=50,
        ema=0.998,
        minutes_per_checkpoint=0.3,
        chunk=20,
        pool=200_000,
        least=20_000,
    ),
    perceptual_weight=0.05,
    dtype="mixed_bfloat16",
    workers=14,
)
"""The same model, trained longer than a CPU can."""
TOY = Configuration(
    name="toy",
    size=16,
    styles=("flat drawing", "3d render"),
    scenes=0.2,
    autoencoder=AutoencoderConfig((8, 16), 1, 4, 4, 1.0),
    unet=UNetConfig(
        channels=(16, 16),
        down=((0,), (1,)),
        mid=(),
        up=((1, 0), (0, 0)),
        heads=(2, 2),
        context_width=16,
        groups=8,
        linear_projection=True,
    ),
    text_encoder=TextEncoderConfig(16, 1, 2, 32, "gelu"),
    autoencoder_training=Training(4, 4, 1e-3, warmup=1, chunk=2),
    denoiser_training=Training(50, 8, 3e-3, warmup=5),
    words_training=Training(4, 4, 1e-3, warmup=1, chunk=2),
    turbo_training=Training(12, 8, 1e-3, warmup=1, chunk=4),
)
CONFIGURATIONS = {config.name: config for config in (GPU, CPU, TOY)}


def arguments(what: str | None, default: str = "cpu", **extra: dict) -> tuple:
    """The command line that all stages share: (configuration, work folder[, extra...])."""
    parser = argparse.ArgumentParser(description=(what or "").splitlines()[0])
    parser.add_argument("--configuration", choices=CONFIGURATIONS, default=default)
    parser.add_argument("--work", type=Path, required=True, help="where this run keeps its files")
    for name, options in extra.items():
        parser.add_argument(f"--{name}", **options)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    rest = (getattr(given, name.replace("-", "_")) for name in extra)
    return (CONFIGURATIONS[given.configuration], given.work, *rest)
