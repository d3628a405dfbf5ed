"""The encoder of pictures in a file or folder of transformers (CLIPVisionModelWithProjection)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from sfumato.checkpoints import nature
from sfumato.checkpoints.architecture import (
    Settings,
    Shapes,
    check_blocks,
    count_of,
    shape_of,
    shapes_of,
)
from sfumato.checkpoints.folders import choose, read_part, read_settings
from sfumato.checkpoints.pickles import read_pickle
from sfumato.checkpoints.safetensors import read_safetensors
from sfumato.checkpoints.settings import checked
from sfumato.checkpoints.tensors import CheckpointError, Tensors, rename
from sfumato.networks.vision import VisionEncoderConfig

HEADS = {768: 12, 1024: 16, 1280: 16, 1664: 16}
"""Of CLIP's encoders (B, L, H and bigG) by their width; a ``config.json`` comes before it."""
QUICK = (768, 1024)
"""The widths of OpenAI's own, whose activation is the quick one."""
CLASS, PATCHES, POSITIONS = (
    f"embeddings.{name}"
    for name in ("class_embedding", "patch_embedding.weight", "position_embedding.weight")
)


class VisionFile(NamedTuple):
    """An encoder of pictures. Its tensors are views of the mapped file where they can be."""

    config: VisionEncoderConfig
    tensors: Tensors


def read_vision(path: Path) -> VisionFile:
    """Read an encoder of pictures from a folder, a .safetensors file or a pickle of PyTorch.

    Raises:
        CheckpointError: it is damaged, none, or computed otherwise than ours.
    """
    tensors, settings = read_weights(path), _settings(path)
    if CLASS not in {name.removeprefix("vision_model.") for name in tensors}:
        what = nature.of_names(tensors)
        raise CheckpointError(
            f"`{path}` must hold an encoder of pictures (CLIP vision), not {what}"
        )
    tensors = rename(tensors, lambda name: name.removeprefix("vision_model."))
    config = vision_config(shapes_of(tensors), settings)
    tensors |= {f"{CLASS}.weight": tensors.pop(CLASS).reshape(1, -1)}
    tensors |= {"embeddings.patches.weight": (p := tensors.pop(PATCHES)).reshape(len(p), -1)}
    return VisionFile(config, tensors)


def read_weights(path: Path) -> Tensors:
    """All tensors of a folder of one part, or of a file.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    if path.is_dir():
        return read_part(path)
    if path.suffix.lower() in nature.PICKLES:
        return read_pickle(path)
    return read_safetensors(path)


def vision_config(shapes: Shapes, settings: Settings | None = None) -> VisionEncoderConfig:
    """The encoder of pictures with tensors of these shapes.

    Raises:
        CheckpointError: a tensor that every one has is missing, or of another rank.
    """
    settings = settings or {}
    names = {PATCHES: 4, POSITIONS: 2, "encoder.layers.0.mlp.fc1.weight": 2}
    names |= {"visual_projection.weight": 2}
    found = {name: shape_of(shapes, name) for name in names}
    for name, rank in names.items():
        if len(found[name]) != rank:
            must = f"`{name}` of an encoder of pictures must have {rank} axes"
            raise CheckpointError(f"{must}. Received: shape {found[name]}")
    width, _, patch, _ = found[PATCHES]
    side = math.isqrt(max(0, found[POSITIONS][0] - 1))
    activation = settings.get("hidden_act") or ("quick_gelu" if width in QUICK else "gelu")
    heads = int(settings.get("num_attention_heads") or HEADS.get(width) or max(1, width // 64))
    if min(patch, side) < 1 or side * patch > 4096 or heads < 1 or width % heads:
        raise CheckpointError(
            f"An encoder of pictures must have pictures of up to 4096 pixels along a side, and "
            f"whole heads. Received: {side} patches of {patch} pixels, {heads} heads of {width}"
        )
    layers = count_of(shapes, "encoder.layers.")
    blocks = {"num_hidden_layers": layers, "image_size": side * patch, "patch_size": patch}
    check_blocks("encoder of pictures", settings, blocks)
    return VisionEncoderConfig(
        width=width,
        layers=layers,
        heads=heads,
        mlp_width=found["encoder.layers.0.mlp.fc1.weight"][0],
        activation=activation,
        patch=patch,
        size=side * patch,
        projection=found["visual_projection.weight"][0],
    )


def _settings(path: Path) -> Settings:
    """The ``config.json`` of a folder, or of a file that is named as in one."""
    if not (path.is_dir() or choose([path.name])):
        return {}
    file = (path if path.is_dir() else path.parent) / "config.json"
    return checked("vision", read_settings(file), file)
