"""Any file or folder of Stable Diffusion weights as one thing: parts, architecture, training."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sfumato.checkpoints import architecture, compvis, fitting, folders, layout, nature
from sfumato.checkpoints.autoencoder_names import rename_tiny
from sfumato.checkpoints.hdf5 import read_keras_h5
from sfumato.checkpoints.kerascv import from_kerascv
from sfumato.checkpoints.notes import read_notes
from sfumato.checkpoints.pickles import read_pickle
from sfumato.checkpoints.safetensors import read_metadata, read_safetensors
from sfumato.checkpoints.settings import checked
from sfumato.checkpoints.tensors import CheckpointError, Tensors, check_content
from sfumato.networks.configs import (
    OPENCLIP_BIGG,
    SIZES,
    AutoencoderConfig,
    TextEncoderConfig,
    TinyAutoencoderConfig,
    UNetConfig,
)
from sfumato.presets.families import Family, Prediction, find_family

SPECIAL = {
    1: "made for pictures with a depth map (depth2img)",
    3: "an upscaler",
}
"""Kinds of U-Nets by the input channels that they have beyond the latents."""
FORMATS = ".safetensors, .ckpt, .pt, .pth, .bin or .h5"


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a model's networks by native name, mapped from its files.

    ``parts`` has "unet", "text_encoder", "text_encoder_2" (XL), "image_encoder" and "decoder", as
    far as the files hold them; ``fill`` takes them. ``settings`` has the JSON of a diffusers folder
    under "unet", "vae", "text_encoder", "text_encoder_2", "scheduler" and "index"; "image_encoder"
    and "decoder" come before "vae" where these are another autoencoder's.
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

    def autoencoder_config(
        self, half: str | None = None
    ) -> AutoencoderConfig | TinyAutoencoderConfig:
        """Of the autoencoder, read from the shapes of the decoder where there is one."""
        part = half or ("decoder" if "decoder" in self.parts else "image_encoder")
        said = self.settings.get(part, self.settings.get("vae", {}))
        settings = {"scaling_factor": self.family.scaling_factor} | said
        return architecture.autoencoder_config(self.shapes(part), settings)

    def text_encoder_config(self, part: str = "text_encoder") -> TextEncoderConfig:
        """Of "text_encoder" or "text_encoder_2"."""
        settings, penultimate = self.settings.get(part), self.family.penultimate
        return architecture.text_encoder_config(self.shapes(part), settings, penultimate)

    def check(self) -> None:
        """Refuse parts that do not fit one another, or a network; reads no weights.

        Raises:
            CheckpointError: says what is missing, unexpected or of another shape.
        """
        if "unet" in self.parts:
            self._check_unet(self.unet_config())
        for part in self.parts:
            shapes = {name: fitting.as_stored(shape) for name, shape in self._layout(part)}
            fitting.check(shapes, self.parts[part], f"{part} of `{self.path}`")
            if part.startswith("text_encoder"):
                self._check_length(part)

    def _check_length(self, part: str) -> None:
        """Refuse a tokenizer that makes shorter rows than its text encoder reads."""
        length = self.text_encoder_config(part).length
        settings = self.settings.get(part.replace("text_encoder", "tokenizer"), {})
        said = settings.get("model_max_length", length)
        if isinstance(said, (int, float)) and said < length:
            raise CheckpointError(
                f"`model_max_length` must be {length}, as the positions of the {part} of "
                f"`{self.path}`. Received: model_max_length={said}"
            )

    def _layout(self, part: str) -> layout.Layout:
        """The tensors that a part must have."""
        if part == "unet":
            return layout.unet(self.unet_config())
        if part.startswith("text_encoder"):
            return layout.text_encoder(self.text_encoder_config(part))
        c = self.autoencoder_config(part)
        if isinstance(c, TinyAutoencoderConfig):
            return layout.tiny_decoder(c) if part == "decoder" else layout.tiny_image_encoder(c)
        return layout.decoder(c) if part == "decoder" else layout.image_encoder(c)

    def _check_unet(self, c: UNetConfig) -> None:
        """Refuse a U-Net that wants other inputs than latents, a mask and text."""
        if c.added_width and c.context_width == OPENCLIP_BIGG.width:
            raise CheckpointError(
                f"`{self.path}` is a refiner of XL, which cannot be used. Use the base model alone."
            )
        halves = [part for part in ("decoder", "image_encoder") if part in self.parts]
        latents = {self.autoencoder_config(half).latent_channels for half in halves}
        count = next(iter(latents), c.out_channels)
        if c.out_channels != count or c.in_channels not in (count, 2 * count, 2 * count + 1):
            what = SPECIAL.get(c.in_channels - count, "made for something else")
            raise CheckpointError(
                f"The U-Net of `{self.path}` is {what}, which cannot be used. It must have {count} "
                f"input channels, {2 * count} to edit pictures or {2 * count + 1} to see masks, and "
                f"{count} output channels. It has {c.in_channels} and {c.out_channels}."
            )

    def shapes(self, part: str) -> architecture.Shapes:
        """The shapes of a part's tensors; CheckpointError if the files do not hold this part."""
        if part not in self.parts:
            held = ", ".join(self.parts)
            raise CheckpointError(f"`{self.path}` holds no {part}. It holds: {held}.")
        return architecture.shapes_of(self.parts[part])


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
