"""Another autoencoder for a model: the family's tiny one, or one of the user's."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from sfumato._files import expanded
from sfumato.checkpoints.checkpoint import Checkpoint
from sfumato.checkpoints.hub import Address, cache_folder, download, find_address
from sfumato.checkpoints.opening import open_files, open_folder
from sfumato.checkpoints.tensors import CheckpointError
from sfumato.networks.configs import AutoencoderConfig, TinyAutoencoderConfig
from sfumato.presets.families import Family

TINY = "tiny"
HALVES = ("image_encoder", "decoder")
WEIGHTS = "diffusion_pytorch_model.safetensors"
"""The file of a tiny autoencoder's repository."""
CHOICES = f"{TINY!r}, a file, a folder or a repository of the Hub"
OTHERS = {16: "Stable Diffusion 3 and Flux (taesd3, taef1)", 32: "Flux 2 (taef2)"}
"""The models with other latents, by the number of channels."""


def with_decoder(checkpoint: Checkpoint, name: str, offline: bool | None = None) -> Checkpoint:
    """The checkpoint with the halves of another autoencoder in place of its own.

    Args:
        checkpoint: of a model.
        name: "tiny", the one of the model's family; or a file, a folder (an autoencoder's, a
            model's, or one with the files of tiny ones) or a repository of the Hub. A file may have
            the decoder alone: then pictures are still encoded by the model's own.
        offline: never touch the network; default: as ``HF_HUB_OFFLINE`` says.

    Raises:
        ValueError: ``name`` is none of these.
        FileNotFoundError: it cannot be had.
        CheckpointError: it holds no autoencoder, or one for other latents.
    """
    own = checkpoint.autoencoder_config()
    if name == TINY and own.latent_channels != TinyAutoencoderConfig.latent_channels:
        raise CheckpointError(
            f"`decoder` must be none for `{checkpoint.path}`, whose latents have "
            f"{own.latent_channels} channels: tiny autoencoders are made for "
            f"{TinyAutoencoderConfig.latent_channels}. Received: decoder={name!r}"
        )
    given = _open(_find(name, checkpoint.family, offline), checkpoint.family)
    halves = {half: given.parts[half] for half in HALVES if half in given.parts}
    if not halves:
        raise CheckpointError(f"`{given.path}` holds no autoencoder. It holds: {[*given.parts]}.")

    said = given.settings.get("vae", _scaled_as(checkpoint))
    settings = checkpoint.settings | dict.fromkeys(halves, said)
    made = replace(checkpoint, parts=checkpoint.parts | halves, settings=settings)
    for half in halves:
        _check_latents(made, half, checkpoint)
    made.check()
    return made


def located(decoder: str | os.PathLike[str]) -> str:
    """The name of a decoder as it is known in any working folder: a path in full."""
    name = os.fspath(decoder)
    path = expanded(name)
    return str(path.absolute()) if name != TINY and path.exists() else name


def _check_latents(made: Checkpoint, half: str, model: Checkpoint) -> None:
    """Refuse an autoencoder for other latents than the model's."""
    own, c = model.autoencoder_config(), made.autoencoder_config(half)
    wanted = (own.latent_channels, own.downsampling)
    if (c.latent_channels, c.downsampling) != wanted:
        other = OTHERS.get(c.latent_channels)
        raise CheckpointError(
            f"`decoder` must be for latents of {wanted[0]} channels, each of {wanted[1]} pixels, "
            f"as `{model.path}` has them. Received: one for {c.latent_channels} channels of "
            f"{c.downsampling} pixels{f', as for {other}' if other else ''}"
        )
    scaled = _scaled_as(model)
    scaling, std = scaled["scaling_factor"], scaled.get("latents_std", ())
    has = c.latents_std if isinstance(c, AutoencoderConfig) else ()
    if std != has:
        raise CheckpointError(
            f"`decoder` must be for latents of deviation {std or 'as they come'}, as "
            f"`{model.path}` has them. Received: one for {has or 'as they come'}"
        )
    if isinstance(c, AutoencoderConfig) and c.scaling_factor != scaling:
        raise CheckpointError(
            f"`decoder` must be for latents scaled by {scaling}, as `{model.path}` has "
            f"them. Received: one for {c.scaling_factor} (1.x and 2.x have 0.18215, XL 0.13025)"
        )


def _scaled_as(model: Checkpoint) -> dict[str, Any]:
    """How a full autoencoder's latents are scaled for a model, in the words of diffusers."""
    own = model.autoencoder_config()
    if not isinstance(own, AutoencoderConfig):
        return {"scaling_factor": model.family.scaling_factor}
    found: dict[str, Any] = {"scaling_factor": own.scaling_factor}
    if own.latents_std:
        found |= {"latents_mean": own.latents_mean, "latents_std": own.latents_std}
    return found


def _find(name: str, family: Family, offline: bool | None) -> Path:
    """The path of a decoder, fetched from the Hub if it is not on this machine."""
    path = expanded(name)
    if name != TINY and path.exists():
        return path
    address = Address(family.tiny_decoder, file=WEIGHTS) if name == TINY else find_address(name)
    if address is None:
        raise ValueError(f"`decoder` must be {CHOICES}. Received: decoder={name!r}")
    try:
        return download(address, offline)
    except FileNotFoundError as error:
        if name != TINY:
            raise
        raise FileNotFoundError(
            f"decoder='tiny' needs {WEIGHTS} of the Hub repository {family.tiny_decoder}, which is "
            f"not here. Looked in `{cache_folder(family.tiny_decoder)}`. Without a network, name a "
            f"file or folder that has it, such as decoder='{_stem(family)}_decoder.safetensors'"
        ) from error.__cause__


def _open(path: Path, family: Family) -> Checkpoint:
    """What is there, of which not all need be an autoencoder."""
    if path.is_file():
        return open_files(path, [path])
    found = [path / f"{_stem(family)}_{half}" for half in ("encoder", "decoder")]
    endings = (".safetensors", ".pth", ".pt")
    files = [
        next((f for e in endings if (f := Path(f"{name}{e}")).is_file()), None) for name in found
    ]
    pair = [file for file in files if file]
    return open_files(path, pair) if pair else open_folder(path)


def _stem(family: Family) -> str:
    """The name of the family's tiny autoencoder, with which its author's files begin."""
    return family.tiny_decoder.partition("/")[2]
