"""Stage 4: write the averaged weights as the presets' diffusers folders, in float16.

python -m recipes.mini.export --configuration cpu --work RUN --folder src/sfumato/presets/mini
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from recipes.mini import linear
from recipes.mini.autoencoder import pictures
from recipes.mini.bank import read_bank
from recipes.mini.config import Configuration, arguments
from recipes.mini.training import averages, load_average
from sfumato.checkpoints.save import save_diffusers
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.network import Network, keys
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet

log = logging.getLogger(__name__)

NOISE = {
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


def autoencoder(config: Configuration, work: Path) -> list[Any]:
    """Encoder and decoder; the latents' scale is made one in the encoder's last layer."""
    settings = config.autoencoder
    if not config.linear_encoder:
        measured = json.loads((work / "autoencoder" / "measured.json").read_text())
        settings = replace(settings, scaling_factor=measured["scale"])
    encoder, decoder = ImageEncoder(settings), ImageDecoder(settings)
    trained: dict[str, Network] = {"decoder": decoder}
    if config.linear_encoder:
        encoder.initialize(0)
        shown = [x for x, _ in islice(pictures(config, work, 3), 40)]
        found = linear.load(work / "components.npz")
        linear.construct(encoder, found, np.concatenate(shown))
    else:
        trained["encoder"] = encoder
    load_average(work / "autoencoder" / "checkpoint.npz", trained)
    return [encoder, decoder]


def text_encoder(config: Configuration, work: Path) -> TextEncoder:
    """The text encoder with the whole vocabulary and all positions.

    Words that no caption had are zeros; positions that no caption reached equal the last one.
    """
    network = TextEncoder(config.text_encoder)
    network.initialize(0)
    values = averages(work / "denoiser" / "checkpoint.npz", "text_encoder")
    words, positions = (f"embeddings.{part}_embedding.weight" for part in ("token", "position"))
    table = np.zeros((config.text_encoder.vocabulary, config.text_encoder.width), "float32")
    table[read_bank(work / "bank.npz").vocabulary] = values[words]
    missing = config.text_encoder.length - config.caption_length
    values[words] = table
    values[positions] = np.pad(values[positions], ((0, missing), (0, 0)), mode="edge")
    for key, variable in keys(network).items():
        variable.assign(values[key])
    return network


def write(folder: Path, parts: dict[str, Any], noise: dict[str, Any], size: int) -> dict[str, str]:
    """Write a preset's folder; returns the SHA-256 of every weight file in it."""
    save_diffusers(folder, parts, noise, "float16", size=size, int8_embeddings=True)
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.safetensors"))
    }


def unet(config: Configuration, checkpoint: Path) -> UNet:
    network = UNet(config.unet)
    load_average(checkpoint, {"unet": network})
    return network


def export(config: Configuration, work: Path, folder: Path) -> dict[str, str]:
    """Write ``mini``; returns the SHA-256 of every weight file in the folder."""
    parts = {
        "unet": unet(config, work / "denoiser" / "checkpoint.npz"),
        "vae": autoencoder(config, work),
        "text_encoder": text_encoder(config, work),
    }
    return write(folder, parts, NOISE, config.size)


def export_turbo(config: Configuration, work: Path, folder: Path) -> dict[str, str]:
    """Write ``mini-turbo``: the distilled denoiser alone, the rest is ``mini``'s."""
    parts = {"unet": unet(config, work / "turbo" / "checkpoint.npz")}
    return write(folder, parts, NOISE | {"_class_name": "DDIMScheduler"}, config.size)


def main() -> None:
    config, work, folder = arguments(__doc__, folder={"type": Path, "required": True})
    digests = {folder / name: digest for name, digest in export(config, work, folder).items()}
    if (work / "turbo").exists():
        turbo = folder.with_name(f"{folder.name}-turbo")
        digests |= {turbo / n: digest for n, digest in export_turbo(config, work, turbo).items()}
    for path, digest in digests.items():
        log.info("%s  %s  %.2f MB", digest, path, path.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
