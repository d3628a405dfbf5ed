"""Stage 4: write the averaged weights as the presets' diffusers folders, in float16.

python -m recipes.mini.export --configuration cpu --work RUN --folder src/sfumato/presets/mini
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np

from recipes.mini import linear
from recipes.mini.compose import open_composer
from recipes.mini.config import Configuration, arguments
from recipes.mini.latents import open_latents, words
from recipes.mini.stream import make
from recipes.mini.training import averages, load_average
from sfumato.checkpoints.save import save_diffusers
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.network import keys
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet

log = logging.getLogger(__name__)

PLAIN = ("the", "and", "with", "in", "at", "to", "some", "one", "my", "your", "picture", "image")
NOISE = {
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


def autoencoder(config: Configuration, work: Path) -> list[Any]:
    """The encoder that computes the components, and the trained decoder."""
    encoder, decoder = ImageEncoder(config.autoencoder), ImageDecoder(config.autoencoder)
    encoder.initialize(0)
    components = linear.load(work / "components.npz")
    (shown,) = make(open_composer(config, work), 100, 3)
    linear.construct(encoder, components, shown / np.float32(127.5) - 1)
    load_average(work / "autoencoder" / "checkpoint.npz", {"decoder": decoder})
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
    table[open_latents(config, work).vocabulary] = values[words]
    missing = config.text_encoder.length - config.caption_length
    values[words] = table
    values[positions] = np.pad(values[positions], ((0, missing), (0, 0)), mode="edge")
    for key, variable in keys(network).items():
        variable.assign(values[key])
    return network


def known_words(config: Configuration, work: Path) -> str:
    """The text of `words.txt`: the words that the model has learnt, one a line, and first those
    that say nothing of a picture and may stand anywhere."""
    learnt = {word for word in words(open_composer(config, work)) if word != ","}
    plain = [word for word in PLAIN if word not in learnt]
    return "".join(f"{word}\n" for word in (*plain, *sorted(learnt)))


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
    digests = write(folder, parts, NOISE, config.size)
    (folder / "words.txt").write_text(known_words(config, work), "utf-8")
    return digests


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
