"""Any file or folder of Stable Diffusion weights as one thing: parts, architecture, training."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sfumato.checkpoints import architecture, compvis, folders, nature
from sfumato.checkpoints.hdf5 import read_keras_h5
from sfumato.checkpoints.kerascv import from_kerascv
from sfumato.checkpoints.pickles import read_pickle
from sfumato.checkpoints.safetensors import read_safetensors
from sfumato.checkpoints.tensors import CheckpointError, Tensors, check_content
from sfumato.networks.configs import SIZES, AutoencoderConfig, TextEncoderConfig, UNetConfig
from sfumato.presets.families import Family, Prediction, find_family

FORMATS = ".safetensors, .ckpt, .pt, .pth, .bin or .h5"


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a model's networks by native name, mapped from its files.

    ``parts`` has "unet", "text_encoder", "text_encoder_2" (XL), "image_encoder" and "decoder", as
    far as the files hold them; ``fill`` takes them. ``settings`` has the JSON of a diffusers folder
    under "unet", "vae", "text_encoder", "text_encoder_2", "scheduler" and "index".
    """

    path: Path
    parts: dict[str, Tensors]
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    prediction: Prediction | None = None
    """The kind of the U-Net's answer, where the files say it; 2.x in a single file does not."""

    @cached_property
    def family(self) -> Family:
        """The row of 1.x, 2.x or XL: everything that its models share and no file says."""
        unet = self._unet_config if "unet" in self.parts else UNetConfig()
        sizes = unet.added_width > 0 or "text_encoder_2" in self.parts
        return find_family(unet.context_width, sizes)

    def unet_config(self) -> UNetConfig:
        """Of the U-Net; CheckpointError if it does not fit the text encoders' output."""
        config = self._unet_config
        if config.added_width and "text_encoder_2" in self.parts:
            text = self.text_encoder_config("text_encoder_2")
            added_width = (text.projection or text.width) + SIZES * config.size_embedding
            if added_width != config.added_width:
                raise CheckpointError(
                    f"The U-Net of `{self.path}` must take {added_width} numbers: the pooled text "
                    f"of the second text encoder and {SIZES} sizes, each as "
                    f"{config.size_embedding} (`addition_time_embed_dim`). It takes "
                    f"{config.added_width}."
                )
        return config

    @cached_property
    def _unet_config(self) -> UNetConfig:
        return architecture.unet_config(self.shapes("unet"), self.settings.get("unet"))

    def autoencoder_config(self) -> AutoencoderConfig:
        part = "decoder" if "decoder" in self.parts else "image_encoder"
        settings = {"scaling_factor": self.family.scaling_factor} | self.settings.get("vae", {})
        return architecture.autoencoder_config(self.shapes(part), settings)

    def text_encoder_config(self, part: str = "text_encoder") -> TextEncoderConfig:
        """Of "text_encoder" or "text_encoder_2"."""
        settings, penultimate = self.settings.get(part), self.family.penultimate
        return architecture.text_encoder_config(self.shapes(part), settings, penultimate)

    def shapes(self, part: str) -> architecture.Shapes:
        """The shapes of a part's tensors; CheckpointError if the files do not hold this part."""
        if part not in self.parts:
            held = ", ".join(self.parts)
            raise CheckpointError(f"`{self.path}` holds no {part}. It holds: {held}.")
        return architecture.shapes_of(self.parts[part])


def open_checkpoint(path: str | os.PathLike[str], variant: str | None = None) -> Checkpoint:
    """Map a model's files and name its tensors; reads no weights and allocates nothing for them.

    Args:
        path: a diffusers folder; a single file of CompVis's, OpenCLIP's and XL's naming
            (.safetensors, .ckpt); one of KerasCV's .h5 files or a folder of them; or a folder
            with one such file.
        variant: of a diffusers folder's files, for example "fp16".

    Raises:
        FileNotFoundError: there is nothing at ``path``.
        CheckpointError: a file is damaged, unsafe, of an unknown kind, or has tensors that belong
            to no network; they are all named.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"`path` must name a file or folder. Received: path={path}")
    if path.is_file():
        return _open_files(path, [path])
    if folders.is_diffusers(path):
        parts, settings = folders.read_folder(path, variant)
        prediction = settings["scheduler"].get("prediction_type")
        prediction = prediction or ("epsilon" if settings["scheduler"] else None)
        return Checkpoint(path, _split(parts), settings, prediction)
    files = sorted(file for file in path.iterdir() if file.suffix == ".h5") or sorted(
        file for file in path.iterdir() if file.suffix in {".safetensors", ".ckpt"}
    )
    if not files or (files[0].suffix != ".h5" and len(files) > 1):
        raise CheckpointError(
            "A folder must be one of diffusers, or hold KerasCV's .h5 files, or exactly one "
            f".safetensors or .ckpt file. Received: path={path} with {len(files)} such files"
        )
    return _open_files(path, files)


def _open_files(path: Path, files: list[Path]) -> Checkpoint:
    parts: dict[str, Tensors] = {}
    scheduler: dict[str, Any] = {}
    for file in files:
        found, said = _open_file(file)
        if double := sorted(parts.keys() & found.keys()):
            raise CheckpointError(f"`{path}` holds the {double[0]} twice.")
        parts |= found
        scheduler |= said
    settings = {"scheduler": scheduler} if scheduler else {}
    checkpoint = Checkpoint(path, parts, settings, scheduler.get("prediction_type"))
    if checkpoint.prediction is None and "unet" in parts:
        return replace(checkpoint, prediction=checkpoint.family.prediction)
    return checkpoint


def _open_file(file: Path) -> tuple[dict[str, Tensors], dict[str, Any]]:
    """The parts in a file, and what it says of the scheduler in diffusers' words."""
    ending = file.suffix.lower()
    if ending == ".h5":
        part, tensors = from_kerascv(read_keras_h5(file))
        return {part: tensors}, {"prediction_type": "epsilon"} if part == "unet" else {}
    if ending == ".safetensors":
        tensors = read_safetensors(file)
    elif ending in nature.PICKLES:
        tensors = read_pickle(file)
    else:
        check_content(file)
        raise CheckpointError(f"A checkpoint must end in {FORMATS}. Received: path={file}")
    if compvis.is_compvis(tensors):
        return _split(compvis.from_compvis(tensors)), compvis.scheduler(tensors)
    return _split(_one_part(file, tensors)), {}


def _one_part(file: Path, tensors: Tensors) -> dict[str, Tensors]:
    """The part that a file of native names holds."""
    marks = {
        "down_blocks.0.resnets.0.conv1.weight": "unet",
        "decoder.conv_in.weight": "vae",
        "encoder.conv_in.weight": "vae",
        "text_model.embeddings.token_embedding.weight": "text_encoder",
        "embeddings.token_embedding.weight": "text_encoder",
    }
    for mark, part in marks.items():
        if mark in tensors:
            return {part: folders.native(part, tensors)}
    raise CheckpointError(f"`{file}` holds {nature.of_names(tensors)}.")


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
