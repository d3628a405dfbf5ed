"""The files of a model, or of a part of one, as a checkpoint: which they are, and what they say."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from sfumato.checkpoints import architecture, compvis, folders, nature
from sfumato.checkpoints.autoencoder_names import rename_tiny
from sfumato.checkpoints.checkpoint import Checkpoint
from sfumato.checkpoints.hdf5 import read_keras_h5
from sfumato.checkpoints.kerascv import from_kerascv
from sfumato.checkpoints.notes import read_notes
from sfumato.checkpoints.pickles import read_pickle
from sfumato.checkpoints.safetensors import read_metadata, read_safetensors
from sfumato.checkpoints.settings import checked
from sfumato.checkpoints.tensors import CheckpointError, Tensors, check_content
from sfumato.networks.configs import AutoencoderConfig

FORMATS = ".safetensors, .ckpt, .pt, .pth, .bin or .h5"


def open_checkpoint(path: str | os.PathLike[str], variant: str | None = None) -> Checkpoint:
    """Map a model's files, name its tensors and check them; reads no weights.

    Args:
        path: a diffusers folder; a single file of CompVis's, OpenCLIP's and XL's naming
            (.safetensors, .ckpt); one of KerasCV's .h5 files or a folder of them; or a folder
            with one such file.
        variant: of a diffusers folder's files, for example "fp16".

    Raises:
        FileNotFoundError: there is nothing at ``path``.
        CheckpointError: a file is damaged, unsafe, of an unknown kind, does not fit its network, or
            asks for what is not computed; all that is wrong with it is named.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"`path` must name a file or folder. Received: path={path}")
    checkpoint = open_folder(path, variant) if path.is_dir() else open_files(path, [path])
    checkpoint.check()
    warn_of_scaling(checkpoint)
    return checkpoint


def warn_of_scaling(checkpoint: Checkpoint) -> None:
    """Warn of an autoencoder by itself that does not say how its latents are scaled."""
    parts = checkpoint.parts
    is_alone = parts.keys() <= {"image_encoder", "decoder"}
    if (
        is_alone
        and "vae" not in checkpoint.settings
        and not any(map(architecture.is_tiny, parts.values()))
    ):
        warnings.warn(
            f"`{checkpoint.path}` does not say its scaling factor: it is taken for 0.18215, as in "
            "1.x and 2.x (XL: 0.13025). A config.json next to diffusion_pytorch_model.safetensors "
            "says it",
            stacklevel=3,
        )


def open_folder(path: Path, variant: str | None = None) -> Checkpoint:
    """The parts in a folder, not checked yet."""
    if folders.is_diffusers(path):
        parts, settings = folders.read_folder(path, variant)
        return _checkpoint(path, _split(parts), settings)
    names = [each.name for each in path.iterdir() if each.is_file()]
    files = sorted(path / name for name in names if name.endswith(".h5")) or sorted(
        path / name for name in names if name.endswith((".safetensors", ".ckpt"))
    )
    if "config.json" in names and (weights := folders.choose(names, variant)):
        if len(weights) > 1:  # in pieces
            return _checkpoint(path, *_one_part(path, folders.read_part(path, variant)))
        files = [path / weights[0]]
    if not files or (files[0].suffix != ".h5" and len(files) > 1):
        raise CheckpointError(
            "A folder must be one of diffusers, or hold KerasCV's .h5 files, or exactly one "
            f".safetensors or .ckpt file. Received: path={path} with {len(files)} such files"
        )
    return open_files(path, files)


def open_files(path: Path, files: list[Path]) -> Checkpoint:
    """The parts in these files, not checked yet; ``path`` is their folder, or the file."""
    parts: dict[str, Tensors] = {}
    settings: dict[str, dict[str, Any]] = {}
    for file in files:
        found, said = _open_file(file)
        if double := sorted(parts.keys() & found.keys()):
            raise CheckpointError(f"`{path}` holds the {double[0]} twice.")
        parts |= found
        settings |= said
    return _checkpoint(path, parts, settings)


def _checkpoint(
    path: Path, parts: dict[str, Tensors], settings: dict[str, dict[str, Any]]
) -> Checkpoint:
    """The checkpoint with what its U-Net predicts, as far as the files or the family say it."""
    unet = parts.get("unet", {})
    if "add_embedding.linear_1.weight" in unet and "text_encoder" not in parts:
        # The refiner of XL has but one text encoder, which folders call the second.
        for name in ("text_encoder", "tokenizer"):
            for each in (parts, settings):
                if found := each.pop(f"{name}_2", None):
                    each[name] = found
    scheduler = settings.get("scheduler", {})
    checkpoint = Checkpoint(path, parts, settings, scheduler.get("prediction_type"))
    if checkpoint.prediction is None and "unet" in parts:
        return replace(checkpoint, prediction=checkpoint.family.prediction)
    return checkpoint


def _open_file(file: Path) -> tuple[dict[str, Tensors], dict[str, dict[str, Any]]]:
    """The parts in a file, and what is said of them in the words of diffusers."""
    ending, header = file.suffix.lower(), {}
    if ending == ".h5":
        part, tensors = from_kerascv(read_keras_h5(file))
        said = {"scheduler": {"prediction_type": "epsilon"}} if part == "unet" else {}
        if part in ("image_encoder", "decoder"):
            said = {"vae": {"scaling_factor": AutoencoderConfig.scaling_factor}}
        return {part: tensors}, said
    if ending == ".safetensors":
        tensors, header = read_safetensors(file), read_metadata(file)
    elif ending in nature.PICKLES:
        tensors = read_pickle(file)
    else:
        check_content(file)
        raise CheckpointError(f"A checkpoint must end in {FORMATS}. Received: path={file}")
    if other := nature.foreign_model(tensors):
        raise CheckpointError(f"`{file}` holds {other}, not a model of 1.x, 2.x or XL.")
    if compvis.is_compvis(tensors):
        return _split(compvis.from_compvis(tensors)), read_notes(file, tensors, header)
    return _one_part(file, tensors)


def _one_part(path: Path, tensors: Tensors) -> tuple[dict[str, Tensors], dict[str, dict[str, Any]]]:
    """The part that a network by itself is, and the ``config.json`` in its folder."""
    tensors = rename_tiny(tensors)
    marks = {
        "down_blocks.0.resnets.0.conv1.weight": "unet",
        "decoder.conv_in.weight": "vae",
        "encoder.conv_in.weight": "vae",
        "decoder.layers.2.conv.0.weight": "vae",
        "encoder.layers.1.conv.0.weight": "vae",
        "text_model.embeddings.token_embedding.weight": "text_encoder",
        "embeddings.token_embedding.weight": "text_encoder",
    }
    part = next((part for mark, part in marks.items() if mark in tensors), None)
    if part is None or any(name.startswith("controlnet_") for name in tensors):
        raise CheckpointError(f"`{path}` holds {nature.of_names(tensors)}.")
    config = (path if path.is_dir() else path.parent) / "config.json"
    said: dict[str, Any] = {}
    if path.is_dir() or folders.choose([path.name]):  # not the settings of some other file
        said = checked(part, folders.read_settings(config), config)
    own = {name: each for name, each in tensors.items() if not compvis.IGNORED.match(name)}
    parts = _split({part: folders.obeying(said, folders.native(part, own))})
    return parts, {part: said} if said else {}


def _split(parts: dict[str, Tensors]) -> dict[str, Tensors]:
    """The autoencoder's two halves as parts of their own: pictures need the decoder alone."""
    parts = dict(parts)
    vae = parts.pop("vae", {})
    for part, prefixes in {
        "image_encoder": ("encoder.", "quant_conv."),
        "decoder": ("decoder.", "post_quant_conv."),
    }.items():
        if half := {name: vae.pop(name) for name in list(vae) if name.startswith(prefixes)}:
            parts[part] = half
    if vae:  # belongs to neither: `fill` will name it
        parts.setdefault("decoder", {}).update(vae)
    return parts
