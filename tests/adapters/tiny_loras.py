"""LoRAs for the tiny model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tiny_model
from sfumato import kernels
from sfumato.adapters.names import Networks
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.stable_diffusion import StableDiffusion

NETWORKS = Networks(tiny_model.UNET, tiny_model.TEXT)
PLACE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_"
LAYERS = {
    f"{PLACE}attn1_to_q": (16, 16),
    f"{PLACE}attn1_to_v": (16, 16),
    f"{PLACE}attn2_to_k": (16, 16),
    f"{PLACE}ff_net_0_proj": (128, 16),
    "lora_unet_down_blocks_1_resnets_0_conv1": (32, 16, 3, 3),
    "lora_unet_up_blocks_1_resnets_0_conv_shortcut": (16, 48),
    "lora_te_text_model_encoder_layers_0_self_attn_k_proj": (16, 16),
    "lora_te_text_model_encoder_layers_1_mlp_fc1": (32, 16),
}
NORM = "lora_unet_down_blocks_0_resnets_0_norm1"


def write(folder: Path) -> list[str]:
    """Two files; the first also changes a norm and a bias."""
    files = []
    for seed in (1, 2):
        random = np.random.default_rng(seed)
        tensors = dict(_factors(random))
        if seed == 1:
            tensors |= {f"{NORM}.w_norm": random.standard_normal(16).astype("float32")}
            tensors |= {f"{PLACE}ff_net_0_proj.diff_b": np.ones(128, "float32")}
        write_safetensors(folder / f"{seed}.safetensors", tensors)
        files.append(str(folder / f"{seed}.safetensors"))
    return files


def _factors(random: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    for name, (out, *inputs) in LAYERS.items():
        yield f"{name}.lora_up.weight", random.standard_normal((out, 2)).astype("float32")
        yield f"{name}.lora_down.weight", random.standard_normal((2, *inputs)).astype("float32")


def show(model: StableDiffusion, *loras: Any) -> np.ndarray:
    return model.generate("a red apple", steps=2, seed=5, loras=loras)[0].pixels


def digest(network: Any) -> str:
    found = hashlib.sha256()
    for variable in network.variables:
        found.update(np.ascontiguousarray(kernels.read(variable)).tobytes())
    return found.hexdigest()
