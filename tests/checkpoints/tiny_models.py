"""Small models of every family with random weights, and writers of the formats they come in."""

from __future__ import annotations

from functools import cache

import numpy as np

from sfumato.checkpoints.save import export
from sfumato.checkpoints.tensors import Tensors
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.configs import AutoencoderConfig, TextEncoderConfig, UNetConfig
from sfumato.networks.network import Network
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet

VAE = AutoencoderConfig(channels=(32, 64), layers=2)
UNETS = {
    "1.x": UNetConfig(
        channels=(32, 64),
        down=((1, 1), (0, 0)),
        up=((0, 0, 0), (1, 1, 1)),
        heads=(8, 8),
        context_width=768,
    ),
    "2.x": UNetConfig(
        channels=(64, 128),
        down=((1, 1), (0, 0)),
        up=((0, 0, 0), (1, 1, 1)),
        heads=(1, 2),
        context_width=1024,
        linear_projection=True,
    ),
    "xl": UNetConfig(
        channels=(64, 64, 128),
        down=((0, 0), (1, 1), (2, 2)),
        mid=(2, 0),
        up=((2, 2, 2), (1, 1, 1), (0, 0, 0)),
        heads=(1, 1, 2),
        context_width=96,
        added_width=32 + 6 * 256,
        linear_projection=True,
    ),
}
CLIP = TextEncoderConfig(768, 1, 12, 64, vocabulary=20, length=77)
TEXTS = {
    "1.x": (CLIP,),
    "2.x": (TextEncoderConfig(128, 3, 2, 64, "gelu", vocabulary=20),),
    "xl": (
        TextEncoderConfig(768, 1, 12, 64, vocabulary=20, penultimate=True),
        TextEncoderConfig(128, 2, 2, 64, "gelu", vocabulary=20, projection=32, penultimate=True),
    ),
}
FAMILIES = tuple(UNETS)


@cache
def networks(family: str) -> dict[str, tuple[Network, ...]]:
    """The parts of a small model, as ``save_diffusers`` takes them."""
    parts: dict[str, tuple[Network, ...]] = {
        "unet": (UNet(UNETS[family]),),
        "vae": (ImageEncoder(VAE), ImageDecoder(VAE)),
    }
    for name, config in zip(("text_encoder", "text_encoder_2"), TEXTS[family], strict=False):
        parts[name] = (TextEncoder(config),)
    for seed, network in enumerate(each for part in parts.values() for each in part):
        network.initialize(seed)
        for variable in network.variables:  # biases of zero would hide a mistake
            if len(variable.shape) == 1:
                random = np.random.default_rng(len(variable.path))
                variable.assign(random.standard_normal(variable.shape, "float32"))
    return parts


def weights(family: str) -> dict[str, Tensors]:
    """The tensors of every part by native name."""
    return {part: export(each) for part, each in networks(family).items()}


def to_compvis(family: str) -> Tensors:
    """The same weights as a single file of CompVis, OpenCLIP or Stability has them."""
    parts = weights(family)
    file: Tensors = {}
    for name, tensor in parts["unet"].items():
        file["model.diffusion_model." + _unet_name(name, UNETS[family])] = tensor
    for name, tensor in parts["vae"].items():
        tensor = tensor[:, :, None, None] if ".attentions." in name and tensor.ndim == 2 else tensor
        file["first_stage_model." + _vae_name(name)] = tensor
    texts = {
        "1.x": {"cond_stage_model.transformer.": parts["text_encoder"]},
        "2.x": {"cond_stage_model.model.": parts["text_encoder"]},
        "xl": {
            "conditioner.embedders.0.transformer.": parts["text_encoder"],
            "conditioner.embedders.1.model.": parts.get("text_encoder_2", {}),
        },
    }[family]
    for prefix, text in texts.items():
        if "transformer" in prefix:
            file |= {f"{prefix}text_model.{name}": tensor for name, tensor in text.items()}
        else:
            file |= {prefix + name: tensor for name, tensor in to_openclip(text).items()}
    return file | extras(family)


def extras(family: str) -> Tensors:
    """What real files of the family hold apart from the networks' weights."""
    position_ids = np.arange(77)[None]
    scale = np.float32(4.6).reshape(())
    return {
        "1.x": {
            "betas": np.zeros(9, "float32"),
            "sqrt_recipm1_alphas_cumprod": np.zeros(9, "float32"),
            "model_ema.decay": scale,
            "cond_stage_model.transformer.text_model.embeddings.position_ids": position_ids,
        },
        "2.x": {
            "alphas_cumprod_prev": np.zeros(9, "float32"),
            "cond_stage_model.model.logit_scale": scale,
            "cond_stage_model.model.attn_mask": np.zeros((77, 77), "float32"),
            "cond_stage_model.model.text_projection": np.zeros((128, 32), "float32"),
            # The last layer, which 2.x does not use.
            "cond_stage_model.model.transformer.resblocks.3.ln_1.weight": np.zeros(128, "float32"),
        },
        "xl": {"conditioner.embedders.1.model.logit_scale": scale},
    }[family]


def to_openclip(tensors: Tensors) -> Tensors:
    """transformers' names -> OpenCLIP's, with q, k and v in one."""
    replaced = (
        ("embeddings.token_embedding.weight", "token_embedding.weight"),
        ("embeddings.position_embedding.weight", "positional_embedding"),
        ("encoder.layers.", "transformer.resblocks."),
        ("layer_norm", "ln_"),
        ("self_attn.", "attn."),
        ("fc1", "c_fc"),
        ("fc2", "c_proj"),
        ("final_ln_", "ln_final"),
    )
    found: Tensors = {}
    for name, tensor in tensors.items():
        if name == "text_projection.weight":
            found["text_projection"] = tensor.T
            continue
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            kin = [tensors[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            name, tensor = name.replace("q_proj.", "in_proj_"), np.concatenate(kin)
        for ours, theirs in replaced:
            name = name.replace(ours, theirs)
        found[name] = tensor
    return found


def _vae_name(name: str) -> str:
    top = len(VAE.channels) - 1
    for level in range(top + 1):
        name = name.replace(f"up_blocks.{level}.", f"up.{top - level}.")
        name = name.replace(f"down_blocks.{level}.", f"down.{level}.")
    for ours, theirs in (
        ("mid_block.resnets.0", "mid.block_1"),
        ("mid_block.resnets.1", "mid.block_2"),
        ("mid_block.attentions.0.group_norm", "mid.attn_1.norm"),
        ("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"),
        ("mid_block.attentions.0.to_", "mid.attn_1."),
        ("resnets.", "block."),
        ("downsamplers.0", "downsample"),
        ("upsamplers.0", "upsample"),
        ("conv_shortcut", "nin_shortcut"),
        ("conv_norm_out", "norm_out"),
    ):
        name = name.replace(ours, theirs)
    return name


def _unet_name(name: str, c: UNetConfig) -> str:
    ends = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    inner = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    }
    stem, leaf = name.rsplit(".", 1)
    if stem in ends:
        return f"{ends[stem]}.{leaf}"
    if name.startswith("mid_block."):
        _, kind, index, rest = name.split(".", 3)
        part = 2 * int(index) + (kind == "attentions")
        block = f"middle_block.{part}"
    else:
        side, level, kind, index, rest = name.split(".", 4)
        level, index = int(level), int(index)
        if side == "down_blocks":
            number = 1 + sum(len(depths) + 1 for depths in c.down[:level]) + index
            number += len(c.down[level]) if kind == "downsamplers" else 0
            block = f"input_blocks.{number}.{int(kind == 'attentions')}"
        else:
            number = sum(len(depths) for depths in c.up[:level]) + index
            number += len(c.up[level]) - 1 if kind == "upsamplers" else 0
            has_attention = any(c.up[level])
            part = {"resnets": 0, "attentions": 1, "upsamplers": 1 + has_attention}[kind]
            block = f"output_blocks.{number}.{part}"
    if kind == "resnets":
        stem, leaf = rest.rsplit(".", 1)
        rest = f"{inner[stem]}.{leaf}"
    if kind == "downsamplers":
        rest = rest.replace("conv.", "op.")
    return f"{block}.{rest}"
