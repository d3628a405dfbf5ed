"""The names of single-file checkpoints (CompVis, OpenCLIP, Stability) -> the native names.

Native names are those of diffusers and transformers, which the networks' attributes carry. CompVis
counts the blocks of a side of the U through; the native names count levels and blocks in a level.
The names of a U-Net come from its configuration, so they fit files of some of its layers, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from sfumato.checkpoints import folders
from sfumato.checkpoints.architecture import Shapes, build_unet_config, shape_of, shapes_of
from sfumato.checkpoints.tensors import CheckpointError, Tensors, listing
from sfumato.networks.configs import UNetConfig

UNET = "model.diffusion_model."
VAE = "first_stage_model."
CLIP = "cond_stage_model.transformer."  # 1.x
OPENCLIP = "cond_stage_model.model."  # 2.x
XL_CLIP = "conditioner.embedders.0.transformer."
XL_OPENCLIP = "conditioner.embedders.1.model."

# Tensors of a checkpoint that are no weights of the networks: the training's noise tables, its
# losses and averaged copies, CLIP's temperature, and marks of the kind of the model.
IGNORED = re.compile(
    r"(alphas_|sqrt_|log_one_minus_|posterior_|lvlb_|betas$|logvar$|sigmas$|global_step$)"
    r"|(model_ema|denoiser|first_stage_model\.loss)\."
    r"|(v_pred|ztsnr)$"
    r"|.*(position_ids|logit_scale|attn_mask)$"
)

UNET_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
UNET_LAYERS = {
    "resnets": {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    },
    "downsamplers": {"conv": "op"},
}
"""Native names of layers within a part -> CompVis' names, where they differ."""
UNET_PARTS = re.compile(
    r"(?P<side>input|middle|output)_blocks?(\.(?P<block>\d{1,3}))?\.(?P<part>\d{1,3})\."
    r"(?P<kind>in_layers|transformer_blocks|op|conv)\.(?P<index>\d{1,3})?"
)
AUTOENCODER = [
    (r"\bmid\.block_1\.", "mid_block.resnets.0."),
    (r"\bmid\.block_2\.", "mid_block.resnets.1."),
    (r"\bmid\.attn_1\.norm\.", "mid_block.attentions.0.group_norm."),
    (r"\bmid\.attn_1\.proj_out\.", "mid_block.attentions.0.to_out.0."),
    (r"\bmid\.attn_1\.([qkv])\.", r"mid_block.attentions.0.to_\1."),
    (r"\bdown\.(\d+)\.block\.", r"down_blocks.\1.resnets."),
    (r"\bdown\.(\d+)\.downsample\.", r"down_blocks.\1.downsamplers.0."),
    (r"\bnin_shortcut\.", "conv_shortcut."),
    (r"\bnorm_out\.", "conv_norm_out."),
]
OPENCLIP_NAMES = [
    (r"^token_embedding\.", "embeddings.token_embedding."),
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^transformer\.resblocks\.", "encoder.layers."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"^ln_final\.", "final_layer_norm."),
]


def is_compvis(names: Iterable[str]) -> bool:
    """Whether these are the names of a single-file checkpoint."""
    return any(name.startswith(UNET) for name in names)


def from_compvis(tensors: Tensors) -> dict[str, Tensors]:
    """The parts of a single-file checkpoint by native names.

    Returns:
        "unet", "vae", "text_encoder" and, for XL, "text_encoder_2", as far as the file has them.

    Raises:
        CheckpointError: names that belong to none of them, all listed; or the noise levels of EDM.
    """
    if edm := [name for name in tensors if name.startswith("edm_vpred.")]:
        raise CheckpointError(
            "Models of EDM's noise levels, such as CosXL, cannot be used. Received: " + listing(edm)
        )
    rest = dict(tensors)
    unet = _take(rest, UNET)
    text = _take(rest, CLIP) or _take(rest, XL_CLIP) or _openclip_2(_take(rest, OPENCLIP))
    parts = {
        "unet": _native_unet(unet),
        "vae": rename_vae(_take(rest, VAE)),
        "text_encoder": folders.native("text_encoder", text),
        "text_encoder_2": _openclip(_take(rest, XL_OPENCLIP)),
    }
    if unknown := [name for name in rest if not IGNORED.match(name)]:
        raise CheckpointError(f"The checkpoint has tensors of no known network: {listing(unknown)}")
    return {part: found for part, found in parts.items() if found}


def scheduler(tensors: Tensors) -> dict[str, Any]:
    """The training as marks among the tensors describe it, in the words of diffusers."""
    settings: dict[str, Any] = {}
    if "v_pred" in tensors:
        settings["prediction_type"] = "v_prediction"
    if "ztsnr" in tensors:
        settings["rescale_betas_zero_snr"] = True
    return settings


def _take(tensors: Tensors, prefix: str) -> Tensors:
    """Remove the tensors of a prefix and return them without it, as far as they count."""
    names = [name for name in tensors if name.startswith(prefix) and not IGNORED.match(name)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}


def unet_names(config: UNetConfig) -> dict[str, str]:
    """CompVis' name -> native name of every layer of the U-Net, in the order of the data."""
    names = dict(UNET_ENDS)
    for part in config.parts():
        renamed = UNET_LAYERS.get(part.kind, {})
        for layer in part.layers():
            names[f"{part.compvis}.{renamed.get(layer, layer)}"] = f"{part.name}.{layer}"
    return names


def unet_structure(shapes: Shapes) -> UNetConfig:
    """The configuration of a U-Net of CompVis' names, as far as names depend on it.

    Raises:
        CheckpointError: the blocks are not those of a U.
    """
    found: dict[tuple[str, int, int], dict[str, set[str]]] = {}
    for match in filter(None, map(UNET_PARTS.match, shapes)):
        place = (match["side"], int(match["block"] or 0), int(match["part"]))
        found.setdefault(place, {}).setdefault(match["kind"], set()).add(match["index"])

    sides: dict[str, list[list[int]]] = {"input": [[]], "middle": [[]], "output": [[]]}
    channels: list[int] = []
    for (side, block, part), kinds in sorted(found.items()):
        levels = sides[side]
        if "in_layers" in kinds:
            if side == "input" and not levels[-1]:
                name = f"input_blocks.{block}.{part}.in_layers.2.weight"
                channels.append(shape_of(shapes, name)[0])
            levels[-1].append(0)
        elif "transformer_blocks" in kinds and levels[-1]:
            levels[-1][-1] = len(kinds["transformer_blocks"])
        else:  # a change of size
            levels.append([])
    down, (mid, *_), up = (tuple(map(tuple, levels)) for levels in sides.values())
    heads = (1,) * len(channels)
    return build_unet_config(channels=tuple(channels), down=down, mid=mid, up=up, heads=heads)


def _native_unet(tensors: Tensors) -> Tensors:
    """The tensors by native name; a name that no U-Net has stays as it is."""
    names = unet_names(unet_structure(shapes_of(tensors))) if tensors else {}

    def native(name: str) -> str:
        stem, dot, leaf = name.rpartition(".")
        return f"{names.get(stem, stem)}{dot}{leaf}"

    return _rename(tensors, native)


def rename_vae(tensors: Tensors) -> Tensors:
    """CompVis names of the autoencoder -> native ones; upper levels are counted from below."""
    ups = [int(match[1]) for name in tensors if (match := re.match(r"decoder\.up\.(\d+)\.", name))]
    top = max(ups, default=0)

    def native(name: str) -> str:
        for pattern, replacement in AUTOENCODER:
            name = re.sub(pattern, replacement, name)
        if match := re.match(r"decoder\.up\.(\d+)\.(block|upsample)\.", name):
            part = "resnets." if match[2] == "block" else "upsamplers.0."
            name = f"decoder.up_blocks.{top - int(match[1])}.{part}{name[match.end() :]}"
        return name

    return _rename(tensors, native)


def _rename(tensors: Tensors, native: Callable[[str], str]) -> Tensors:
    found = {native(name): tensor for name, tensor in tensors.items()}
    if len(found) < len(tensors):
        raise CheckpointError("The checkpoint has a tensor under two names.")
    return found


def _openclip(tensors: Tensors) -> Tensors:
    """OpenCLIP's names -> transformers' ones; its fused q, k and v become three views."""
    found: Tensors = {}
    for name, tensor in tensors.items():
        for pattern, replacement in OPENCLIP_NAMES:
            name = re.sub(pattern, replacement, name)
        if match := re.fullmatch(r"(.+)\.in_proj_(weight|bias)", name):
            width = tensor.shape[0] // 3
            for index, part in enumerate(("q_proj", "k_proj", "v_proj")):
                found[f"{match[1]}.{part}.{match[2]}"] = tensor[index * width : (index + 1) * width]
        elif name == "text_projection":  # stored for x @ projection
            found["text_projection.weight"] = tensor.T
        else:
            found[name] = tensor
    return found


def _openclip_2(tensors: Tensors) -> Tensors:
    """The text encoder of 2.x, which gives the last but one layer's output: the last is unused."""
    found = _openclip(tensors)
    layers = [int(m[1]) for name in found if (m := re.match(r"encoder\.layers\.(\d+)\.", name))]
    unused = (f"encoder.layers.{max(layers, default=0)}.", "text_projection.")
    return {name: tensor for name, tensor in found.items() if not name.startswith(unused)}
