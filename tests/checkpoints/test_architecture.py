"""The published models' architectures, read from the shapes of diffusers' and transformers' own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sfumato.checkpoints import CheckpointError
from sfumato.checkpoints.architecture import autoencoder_config, text_encoder_config, unet_config
from sfumato.networks.configs import (
    CLIP_L,
    OPENCLIP_BIGG,
    OPENCLIP_H,
    AutoencoderConfig,
    UNetConfig,
)

D, DT, U, UT = "DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"
FOUR: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (DT, DT, DT, D),
    "up_block_types": (U, UT, UT, UT),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
THREE: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": (D, DT, DT),
    "up_block_types": (UT, UT, U),
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
TWO = UNetConfig(context_width=1024, heads=(5, 10, 20, 20), linear_projection=True)
XL = UNetConfig(
    channels=(320, 640, 1280),
    down=((0, 0), (2, 2), (10, 10)),
    mid=(10, 0),
    up=((10, 10, 10), (2, 2, 2), (0, 0, 0)),
    heads=(5, 10, 20),
    context_width=2048,
    added_width=2816,
    linear_projection=True,
)
UNETS = {
    "1.5": (FOUR, UNetConfig()),
    "1.5 inpainting": ({**FOUR, "in_channels": 9}, UNetConfig(in_channels=9)),
    "2.1": (
        {
            **FOUR,
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
        },
        TWO,
    ),
    "xl": ({**THREE, "transformer_layers_per_block": (1, 2, 10)}, XL),
    "ssd-1b": (
        {
            **THREE,
            "transformer_layers_per_block": (1, 2, 4),
            "reverse_transformer_layers_per_block": ((4, 4, 10), (2, 1, 1), 1),
            "mid_block_type": "UNetMidBlock2D",
        },
        replace(XL, down=((0, 0), (2, 2), (4, 4)), mid=(0,), up=((4, 4, 10), (2, 1, 1), (0, 0, 0))),
    ),
    "vega": (
        {
            **THREE,
            "transformer_layers_per_block": (1, 1, 2),
            "mid_block_type": "UNetMidBlock2D",
        },
        replace(XL, down=((0, 0), (1, 1), (2, 2)), mid=(0,), up=((2,) * 3, (1,) * 3, (0,) * 3)),
    ),
    "koala-700m": (
        {
            **THREE,
            "layers_per_block": 1,
            "transformer_layers_per_block": (1, 2, 5),
            "mid_block_type": None,
        },
        replace(XL, down=((0,), (2,), (5,)), mid=(), up=((5, 5), (2, 2), (0, 0))),
    ),
    "koala-1b": (
        {**THREE, "layers_per_block": 1, "transformer_layers_per_block": (1, 2, 6)},
        replace(XL, down=((0,), (2,), (6,)), mid=(6, 0), up=((6, 6), (2, 2), (0, 0))),
    ),
    "xl inpainting": (
        {**THREE, "in_channels": 9, "transformer_layers_per_block": (1, 2, 10)},
        replace(XL, in_channels=9),
    ),
    "sdxs-512-dreamshaper": (
        {
            **FOUR,
            "block_out_channels": (320, 640, 1280),
            "down_block_types": (D, DT, DT),
            "up_block_types": (UT, UT, U),
            "layers_per_block": 1,
            "mid_block_type": None,
        },
        UNetConfig(
            channels=(320, 640, 1280),
            down=((0,), (1,), (1,)),
            mid=(),
            up=((1, 1), (1, 1), (0, 0)),
            heads=(8, 8, 8),
        ),
    ),
    "bk-sdm-tiny": (
        {
            **FOUR,
            "block_out_channels": (320, 640, 1280),
            "down_block_types": (DT, DT, DT),
            "up_block_types": (UT, UT, UT),
            "layers_per_block": 1,
            "mid_block_type": None,
        },
        UNetConfig(
            channels=(320, 640, 1280),
            down=((1,), (1,), (1,)),
            mid=(),
            up=((1, 1), (1, 1), (1, 1)),
            heads=(8, 8, 8),
        ),
    ),
}


def shapes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(each.shape) for name, each in model.state_dict().items()}


@pytest.mark.parametrize("name", UNETS)
def test_unet(name):
    options, config = UNETS[name]
    with torch.device("meta"):  # full size, no memory
        model = UNet2DConditionModel(**options)
    assert unet_config(shapes(model)) == config
    assert unet_config(shapes(model), model.config) == config


def test_the_settings_tell_what_shapes_do_not():
    options, config = UNETS["1.5"]
    with torch.device("meta"):
        model = UNet2DConditionModel(**{**options, "attention_head_dim": 4, "norm_num_groups": 16})
    assert unet_config(shapes(model), model.config) == replace(config, heads=(4,) * 4, groups=16)


def test_autoencoder():
    config = AutoencoderConfig()
    with torch.device("meta"):
        model = AutoencoderKL(
            block_out_channels=config.channels,
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
    whole = shapes(model)
    for half in ("", "encoder.", "decoder."):
        assert autoencoder_config({k: v for k, v in whole.items() if k.startswith(half)}) == config
    assert autoencoder_config(whole, {"scaling_factor": 0.13025}).scaling_factor == 0.13025


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (CLIP_L, CLIPTextModel),
        (OPENCLIP_H, CLIPTextModel),
        (OPENCLIP_BIGG, CLIPTextModelWithProjection),
    ],
)
def test_text_encoder(config, kind):
    with torch.device("meta"):
        model = kind(
            CLIPTextConfig(
                hidden_size=config.width,
                intermediate_size=config.mlp_width,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                projection_dim=config.projection or 512,
                hidden_act=config.activation,
            )
        )
    native = {name.removeprefix("text_model."): each for name, each in shapes(model).items()}
    penultimate = config.penultimate
    assert text_encoder_config(native, penultimate=penultimate) == config
    assert text_encoder_config(native, model.config.to_dict(), penultimate) == config


def test_what_is_no_such_network_is_refused():
    with pytest.raises(CheckpointError, match="no levels"):
        unet_config({"a": (1,)})
    with pytest.raises(CheckpointError, match="neither an encoder nor a decoder"):
        autoencoder_config({})
    with pytest.raises(CheckpointError, match="lacks `embeddings.token_embedding.weight`"):
        text_encoder_config({})
