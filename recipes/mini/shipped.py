"""Going on from weights alone: those of a preset's folder, or of a file small enough to travel.

A checkpoint has the optimizer's state and is several times as large as the weights. Where it is
lost, or too large for the way, the training goes on from weights with a fresh optimizer.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np

from recipes.mini.config import Configuration
from recipes.mini.training import Trainer
from sfumato.networks.network import keys

log = logging.getLogger(__name__)
PIECE = 15_000_000  # bytes of one file: machines that are lent take some limited ones back
Weights = dict[str, np.ndarray]


def weights_of(trainer: Trainer) -> Weights:
    """The averaged weights by name, in float16, and how far the training was."""
    averages = trainer.named(trainer.average)
    weights = {name: value.astype("float16") for name, value in averages.items()}
    return weights | {"step": np.array(trainer.step), "seconds": np.array(trainer.seconds)}


def give(trainer: Trainer, weights: Weights) -> bool:
    """Let a trainer go on from weights; False where they are of other networks."""
    rows = trainer.variables.items()
    if any(n not in weights or weights[n].shape != tuple(v.shape) for n, v in rows):
        return False
    for name, variable in rows:
        variable.assign(weights[name].astype("float32"))
    trainer.begin()
    trainer.step, trainer.seconds = int(weights.get("step", 0)), float(weights.get("seconds", 0))
    trainer.optimizer.iterations.assign(trainer.step)
    return True


def write_pieces(folder: Path, name: str, weights: Weights) -> list[Path]:
    """Write weights as ``NAME.0``, ``NAME.1``, ..., none larger than `PIECE`."""
    whole = folder / f"{name}.npz"
    np.savez(whole, **weights)
    blob = whole.read_bytes()
    whole.unlink()
    paths = []
    for index, start in enumerate(range(0, len(blob), PIECE)):
        paths.append(folder / f"{name}.{index}")
        paths[-1].write_bytes(blob[start : start + PIECE])
    return paths


def read_pieces(folder: Path, name: str) -> Weights | None:
    """What `write_pieces` wrote, or None if it is not there."""
    pieces = sorted(folder.glob(f"{name}.[0-9]*"), key=lambda path: int(path.suffix[1:]))
    if not pieces:
        return None
    with np.load(io.BytesIO(b"".join(path.read_bytes() for path in pieces))) as file:
        return {key: file[key] for key in file.files}


@lru_cache(1)
def preset(name: str) -> Any:
    from sfumato import StableDiffusion

    return StableDiffusion.from_preset(name, jit_compile=False)


def shipped_encoder(config: Configuration) -> Callable[[np.ndarray], np.ndarray] | None:
    """pictures -> latents by the shipped preset, if that is of the configuration's architecture."""
    if not config.shipped or preset(config.shipped).image_encoder.config != config.autoencoder:
        return None
    encoder = preset(config.shipped).image_encoder
    return lambda pictures: keras.ops.convert_to_numpy(encoder(pictures))


def shipped_weights(config: Configuration, vocabulary: np.ndarray | None) -> Weights:
    """The shipped preset's weights by the names of the trainings.

    ``vocabulary``: the ids whose embeddings the training has, or None if it has no text encoder.
    """
    model = preset(config.shipped)
    networks = {"decoder": model.decoder, "unet": model.diffusion_model}
    if vocabulary is not None:
        networks["text_encoder"] = model.text_encoder
    weights = {
        f"{name}/{key}": keras.ops.convert_to_numpy(variable.value)
        for name, network in networks.items()
        for key, variable in keys(network).items()
    }
    if vocabulary is not None:
        for part, rows in (("token", vocabulary), ("position", range(config.caption_length))):
            key = f"text_encoder/embeddings.{part}_embedding.weight"
            weights[key] = weights[key][np.asarray(rows)]
    return weights


def restore(
    trainer: Trainer,
    stage: str,
    config: Configuration,
    work: Path,
    vocabulary: np.ndarray | None = None,
) -> bool:
    """From the checkpoint; else from pieces in the work folder; else, if the shipped preset is of
    the same architecture, from its weights. Returns whether there was something."""
    if trainer.restore():
        return True
    pieces = read_pieces(work, stage)
    if pieces is None and not config.shipped:
        return False
    found = give(trainer, pieces if pieces else shipped_weights(config, vocabulary))
    if found:
        log.info("%s: goes on at step %d from weights alone", stage, trainer.step)
    return found
