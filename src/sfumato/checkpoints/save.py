"""Writing networks as a folder that diffusers and Sfumato read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from sfumato import kernels
from sfumato._files import replacing
from sfumato.checkpoints.folders import published
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.checkpoints.tensors import Tensors
from sfumato.checkpoints.weights import SCALE, is_kernel, source_shapes, sources
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.configs import (
    START_OF_TEXT,
    AutoencoderConfig,
    TextEncoderConfig,
    UNetConfig,
)
from sfumato.networks.network import Block, Network, keys
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet
from sfumato.presets.preset import WEIGHTS

Settings = dict[str, Any]

DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}

# Dense layers of ours that diffusers keeps as 1x1 convolutions.
CONVOLUTIONS = re.compile(r".*(conv_shortcut|quant_conv)\.weight")
PROJECTIONS = re.compile(r".*\.proj_(in|out)\.weight")

SCHEDULER: Settings = {
    "_class_name": "DPMSolverMultistepScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "steps_offset": 1,
}


def save_diffusers(
    folder: str | os.PathLike[str],
    parts: Mapping[str, Network | Sequence[Network]],
    scheduler: Mapping[str, Any] | None = None,
    dtype: str = "float16",
    *,
    size: int | None = None,
    int8_embeddings: bool = False,
) -> None:
    """Write a model as a diffusers folder: safetensors and config.json of every part.

    The tokenizer's files are not written: Sfumato has them, and diffusers takes those of another
    model of the family.

    Args:
        folder: where to write; made if it is not there.
        parts: "unet", "vae" (its ``ImageEncoder`` and ``ImageDecoder``), "text_encoder" and, for
            XL, "text_encoder_2".
        scheduler: what differs from ``SCHEDULER``, for example ``prediction_type``.
        dtype: of the weights: "float32", "float16" or "bfloat16".
        size: height and width in pixels of the pictures that the model was trained on.
        int8_embeddings: store the embeddings as int8 with one scale for each row, which
            diffusers does not read.

    Raises:
        ValueError: ``dtype`` or a part is none of these.
    """
    if dtype not in DTYPES:
        raise ValueError(f"`dtype` must be one of {', '.join(DTYPES)}. Received: dtype={dtype!r}")
    folder = Path(folder)
    vae = _networks(parts["vae"])[0].config if "vae" in parts else AutoencoderConfig()
    for part, network in parts.items():
        networks = _networks(network)
        tensors = {k: v.astype(DTYPES[dtype]) for k, v in export(networks).items()}
        if int8_embeddings:
            tensors = quantize_embeddings(tensors)
        settings = settings_of(networks[0])
        if part == "unet" and size:
            settings["sample_size"] = size // vae.downsampling
        (folder / part).mkdir(parents=True, exist_ok=True)
        write_safetensors(folder / part / f"{WEIGHTS[part]}.safetensors", published(part, tensors))
        _write_json(folder / part / "config.json", settings)
    (folder / "scheduler").mkdir(parents=True, exist_ok=True)
    noise = SCHEDULER | dict(scheduler or {})
    _write_json(folder / "scheduler" / "scheduler_config.json", noise)
    _write_json(folder / "model_index.json", index(parts, noise))


def export(network: Block | Sequence[Block]) -> Tensors:
    """The weights by native name in PyTorch's layout: what ``fill`` takes."""
    tensors: Tensors = {}
    for part in _networks(network):
        shapes = file_shapes(part)
        for key, variable in keys(part).items():
            value = kernels.read(variable).astype(variable.dtype, copy=False)
            if is_kernel(key, value.ndim):
                value = np.moveaxis(value, (-1, -2), (0, 1))
            names = sources(key)
            for name, piece in zip(names, np.split(value, len(names)), strict=True):
                tensors[name] = piece.reshape(shapes[name])
    return tensors


def file_shapes(network: Block) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors that ``export`` gives."""
    linear = isinstance(network, UNet) and network.config.linear_projection
    shapes: dict[str, tuple[int, ...]] = {}
    for key, variable in keys(network).items():
        usual, *as_convolution = source_shapes(key, tuple(variable.shape))
        for name in sources(key):
            is_projection = PROJECTIONS.fullmatch(name) and not linear
            is_convolution = CONVOLUTIONS.fullmatch(name) or is_projection
            shapes[name] = as_convolution[0] if is_convolution else usual
    return shapes


def quantize_embeddings(tensors: Tensors) -> Tensors:
    """The tensors with every embedding as int8, and another tensor with the scales of its rows."""
    found: Tensors = {}
    for name, tensor in tensors.items():
        if not name.endswith("embedding.weight"):
            found[name] = tensor
            continue
        rows = tensor.astype("float32")
        scale = np.maximum(np.abs(rows).max(axis=1), 1e-12).astype("float32") / 127
        found[name] = np.rint(rows / scale[:, None]).astype(np.int8)
        found[name + SCALE] = scale
    return found


def _networks(network: Any) -> list[Any]:
    return [network] if isinstance(network, Block) else list(network)


def settings_of(network: Network) -> Settings:
    """The network's ``config.json``."""
    return _SETTINGS[type(network)](network.config)


def _unet_settings(c: UNetConfig) -> Settings:
    def kinds(side: tuple[tuple[int, ...], ...], kind: str) -> list[str]:
        return [f"CrossAttn{kind}" if any(depths) else kind for depths in side]

    def depths(side: tuple[tuple[int, ...], ...]) -> list[Any]:
        return [level[0] or 1 if len(set(level)) == 1 else list(level) for level in side]

    mid = {(): None, (0,): "UNetMidBlock2D"}.get(c.mid, "UNetMidBlock2DCrossAttn")
    settings = {
        "_class_name": "UNet2DConditionModel",
        "in_channels": c.in_channels,
        "out_channels": c.out_channels,
        "block_out_channels": list(c.channels),
        "layers_per_block": [len(level) for level in c.down],
        "down_block_types": kinds(c.down, "DownBlock2D"),
        "mid_block_type": mid,
        "up_block_types": kinds(c.up, "UpBlock2D"),
        "attention_head_dim": list(c.heads),  # diffusers' name for the number of heads
        "cross_attention_dim": c.context_width,
        "norm_num_groups": c.groups,
        "use_linear_projection": c.linear_projection,
        "transformer_layers_per_block": depths(c.down),
    }
    if c.guidance_embedding:
        settings["time_cond_proj_dim"] = c.guidance_embedding
    if c.added_width:
        settings["addition_embed_type"] = "text_time"
        settings["addition_time_embed_dim"] = c.size_embedding
        settings["projection_class_embeddings_input_dim"] = c.added_width
    if depths(c.up) != depths(c.down)[::-1]:
        settings["reverse_transformer_layers_per_block"] = depths(c.up)
    return settings


def _autoencoder_settings(c: AutoencoderConfig) -> Settings:
    count = len(c.channels)
    statistics = {"latents_mean": [*c.latents_mean], "latents_std": [*c.latents_std]}
    return (statistics if c.latents_std else {}) | {
        "_class_name": "AutoencoderKL",
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": list(c.channels),
        "down_block_types": ["DownEncoderBlock2D"] * count,
        "up_block_types": ["UpDecoderBlock2D"] * count,
        "layers_per_block": c.layers,
        "latent_channels": c.latent_channels,
        "norm_num_groups": c.groups,
        "scaling_factor": c.scaling_factor,
    }


def _text_encoder_settings(c: TextEncoderConfig) -> Settings:
    return {
        "architectures": ["CLIPTextModelWithProjection" if c.projection else "CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": c.vocabulary,
        "hidden_size": c.width,
        "intermediate_size": c.mlp_width,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "max_position_embeddings": c.length,
        "hidden_act": c.activation,
        "projection_dim": c.projection or c.width,
        "bos_token_id": START_OF_TEXT,
        "eos_token_id": c.end_of_text,
    }


_SETTINGS = {
    UNet: _unet_settings,
    ImageEncoder: _autoencoder_settings,
    ImageDecoder: _autoencoder_settings,
    TextEncoder: _text_encoder_settings,
}


def index(parts: Iterable[str], scheduler: Settings) -> Settings:
    """The ``model_index.json`` of a folder with these parts."""
    pipeline = (
        "StableDiffusionXLPipeline" if "text_encoder_2" in parts else "StableDiffusionPipeline"
    )
    content: Settings = {
        "_class_name": pipeline,
        "scheduler": ["diffusers", scheduler["_class_name"]],
        "tokenizer": ["transformers", "CLIPTokenizer"],
    }
    classes = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    }
    return content | {part: classes[part] for part in parts}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
