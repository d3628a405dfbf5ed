"""Small networks of the reference implementations, with every structural feature of their kin."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from keras import ops
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

DOWN, DOWN_TEXT = "DownBlock2D", "CrossAttnDownBlock2D"
UP, UP_TEXT = "UpBlock2D", "CrossAttnUpBlock2D"
THREE: dict[str, Any] = {
    "block_out_channels": (32, 64, 64),
    "layers_per_block": 2,
    "cross_attention_dim": 48,
    "norm_num_groups": 8,
    "down_block_types": (DOWN_TEXT, DOWN_TEXT, DOWN),
    "up_block_types": (UP, UP_TEXT, UP_TEXT),
}
UNETS: dict[str, dict[str, Any]] = {
    "1.x": {**THREE, "attention_head_dim": 4},
    "2.x": {**THREE, "attention_head_dim": (2, 4, 4), "use_linear_projection": True},
    "xl": {
        **THREE,
        "attention_head_dim": (2, 4, 4),
        "use_linear_projection": True,
        "down_block_types": (DOWN, DOWN_TEXT, DOWN_TEXT),
        "up_block_types": (UP_TEXT, UP_TEXT, UP),
        "transformer_layers_per_block": (1, 2, 3),
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 32 + 6 * 256,
    },
    "inpainting": {**THREE, "attention_head_dim": 4, "in_channels": 9},
    "lcm": {**THREE, "attention_head_dim": 4, "time_cond_proj_dim": 16},
    "pruned": {
        **THREE,
        "attention_head_dim": 4,
        "layers_per_block": 1,
        "block_out_channels": (32, 64),
        "down_block_types": (DOWN_TEXT, DOWN_TEXT),
        "up_block_types": (UP_TEXT, UP_TEXT),
        "mid_block_type": None,
    },
}


def unet(kind: str) -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(**UNETS[kind]).eval()


def autoencoder() -> AutoencoderKL:
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=(32, 64, 64),
        norm_num_groups=8,
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    ).eval()


def text_encoder(activation: str, projection: bool) -> CLIPTextModel | CLIPTextModelWithProjection:
    torch.manual_seed(2)
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=32,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        projection_dim=16,
        hidden_act=activation,
        bos_token_id=49406,
        eos_token_id=49407,
    )
    kind = CLIPTextModelWithProjection if projection else CLIPTextModel
    return kind(config).eval()


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def first(x: np.ndarray) -> torch.Tensor:
    """Channels last to channels first."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def last(x: torch.Tensor) -> np.ndarray:
    """Channels first to channels last."""
    return np.moveaxis(x.numpy(), 1, -1)


def error(ours: Any, theirs: np.ndarray) -> float:
    """The largest difference as a part of the largest value."""
    ours = ops.convert_to_numpy(ours)
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
