"""The names of single-file checkpoints (CompVis, OpenCLIP, Stability) -> the native names.

Native names are those of diffusers and transformers, which the networks' attributes carry. Where
CompVis counts the blocks of a side through, the native names count levels and blocks in a level;
that arithmetic needs no configuration, because the file's own names show where levels end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sfumato.checkpoints import folders
from sfumato.checkpoints.tensors import CheckpointError, Tensors, listing

UNET = "model.diffusion_model."
VAE = "first_stage_model."
CLIP = "cond_stage_model.transformer."  # 1.x
OPENCLIP = "cond_stage_model.model."  # 2.x
XL_CLIP = "conditioner.embedders.0.transformer."
XL_OPENCLIP = "conditioner.embedders.1.model."

# What a checkpoint may hold beside the weights of the networks: the training's noise tables, its
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
RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
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
        "unet": rename(unet, unet_names(unet)),
        "vae": rename_vae(_take(rest, VAE)),
        "text_encoder": folders.native("text_encoder", text),
        "text_encoder_2": _openclip(_take(rest, XL_OPENCLIP)),
    }
    if unknown := [name for name in rest if not IGNORED.match(name)]:
        raise CheckpointError(f"The checkpoint has tensors of no known network: {listing(unknown)}")
    return {part: found for part, found in parts.items() if found}


def scheduler(tensors: Tensors) -> dict[str, Any]:
    """What marks among the tensors tell of the training, in the words of diffusers' schedulers."""
    told: dict[str, Any] = {}
    if "v_pred" in tensors:
        told["prediction_type"] = "v_prediction"
    if "ztsnr" in tensors:
        told["rescale_betas_zero_snr"] = True
    return told


def _take(tensors: Tensors, prefix: str) -> Tensors:
    """Remove the tensors of a prefix and return them without it, as far as they count."""
    names = [name for name in tensors if name.startswith(prefix) and not IGNORED.match(name)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}


def rename(tensors: Tensors, names: dict[str, str]) -> Tensors:
    return {names.get(name, name): tensor for name, tensor in tensors.items()}


def unet_names(names: Iterable[str]) -> dict[str, str]:
    """CompVis name -> native name, for every name of a U-Net that is known."""
    names = list(names)
    places = _unet_places(names)
    found: dict[str, str] = {}
    for name in names:
        stem, _, leaf = name.rpartition(".")
        if stem in UNET_ENDS:
            found[name] = f"{UNET_ENDS[stem]}.{leaf}"
            continue
        block, part, rest = _split_block(name)
        if (block, part) not in places:
            continue
        stem, _, leaf = rest.rpartition(".")
        inner = RESNET.get(stem, stem)
        if inner in {"op", "conv"}:  # a change of size; only its place tells which
            inner = "conv"
        found[name] = f"{places[block, part]}.{inner}.{leaf}"
    return found


def _split_block(name: str) -> tuple[str, int, str]:
    """input_blocks.4.1.norm.weight -> ("input_blocks.4", 1, "norm.weight")"""
    match = re.match(r"((?:input|output)_blocks\.\d+|middle_block)\.(\d+)\.(.+)", name)
    return (match[1], int(match[2]), match[3]) if match else ("", 0, name)


def _unet_places(names: list[str]) -> dict[tuple[str, int], str]:
    """The native place of every part: ("input_blocks.4", 1) -> "down_blocks.1.attentions.0"."""
    kinds: dict[str, dict[int, str]] = {}
    for name in names:
        block, part, rest = _split_block(name)
        first = rest.split(".")[0]
        kind = {"op": "downsamplers", "conv": "upsamplers", "in_layers": "resnets"}.get(first)
        if kind or first == "transformer_blocks":
            kinds.setdefault(block, {})[part] = kind or "attentions"
    places: dict[tuple[str, int], str] = {}
    for part, kind in kinds.pop("middle_block", {}).items():
        places["middle_block", part] = f"mid_block.{kind}.{part // 2}"
    for side, native in (("input_blocks", "down_blocks"), ("output_blocks", "up_blocks")):
        level = index = 0
        for number in range(len(kinds) + 1):
            parts = kinds.get(f"{side}.{number}", {})
            for part, kind in sorted(parts.items()):
                changes_size = kind.endswith("samplers")
                count = 0 if changes_size else index
                places[f"{side}.{number}", part] = f"{native}.{level}.{kind}.{count}"
            if any(kind.endswith("samplers") for kind in parts.values()):
                level, index = level + 1, 0
            elif parts:
                index += 1
    return places


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

    return {native(name): tensor for name, tensor in tensors.items()}


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
