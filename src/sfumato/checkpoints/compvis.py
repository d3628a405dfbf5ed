"""The names of single-file checkpoints (CompVis, OpenCLIP, Stability) -> the native names.

Native names are those of diffusers and transformers, which the networks' attributes carry. CompVis
counts the blocks of a side of the U through; the native names count levels and blocks in a level.
The names of a U-Net come from its configuration, so they fit files of some of its layers, too.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable

import numpy as np

from sfumato.checkpoints import folders
from sfumato.checkpoints.architecture import Shapes, build_unet_config, shape_of, shapes_of
from sfumato.checkpoints.tensors import Tensors, listing, rename
from sfumato.networks.configs import OPENCLIP_H, UNetConfig

UNET = "model.diffusion_model."
VAE = "first_stage_model."
CLIP = "cond_stage_model.transformer."  # 1.x
OPENCLIP = "cond_stage_model.model."  # 2.x
SGM_OPENCLIP = "conditioner.embedders.0.model."  # 2.x as generative-models has it
XL_CLIP = "conditioner.embedders.0.transformer."
XL_OPENCLIP = "conditioner.embedders.1.model."

# Tensors of a checkpoint that are no weights of the networks: the training's noise tables, its
# losses and averaged copies, CLIP's temperature, and marks of the kind of the model.
IGNORED = re.compile(
    r"(alphas_|sqrt_|log_one_minus_|posterior_|lvlb_|betas$|logvar$|sigmas$|global_step$)"
    r"|(model_ema|denoiser|(first_stage_model\.)?loss)\."
    r"|(v_pred|ztsnr|edm_mean|edm_std)$|edm_vpred\."
    r"|.*(position_ids|logit_scale|attn_mask)$"
    # Of an encoder of 1.x, or of XL's first one, which give no pooled text
    r"|(cond_stage_model|conditioner\.embedders\.0)\.(transformer\.)?text_projection(\.weight)?$"
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
    """Whether these are the names of a single-file checkpoint, or of some of its networks."""
    prefixes = (UNET, VAE, CLIP, OPENCLIP, SGM_OPENCLIP, XL_CLIP, XL_OPENCLIP)
    return any(name.startswith(prefixes) for name in names)


def from_compvis(tensors: Tensors) -> dict[str, Tensors]:
    """The parts of a single-file checkpoint by native names.

    Returns:
        "unet", "vae", "text_encoder" and, for XL, "text_encoder_2", as far as the file has them.

    Tensors outside of the networks' names are not used: a warning lists them (UserWarning). A name
    within that no network has stays as it is, and the network's check refuses it.
    """
    rest = dict(tensors)
    unet = _take(rest, UNET)
    text = _take(rest, CLIP) or _take(rest, XL_CLIP)
    openclip = _take(rest, OPENCLIP) or _take(rest, SGM_OPENCLIP)
    if any(name.startswith("label_emb.") for name in unet):  # of XL, whose refiner has it alone
        text_encoder = folders.native("text_encoder", text) or _openclip(openclip)
    else:
        text_encoder = folders.native("text_encoder", text) or _openclip_2(openclip)
    parts = {
        "unet": _native_unet(unet),
        "vae": folders.native("vae", _take(rest, VAE)),
        "text_encoder": used_layers(text_encoder),
        "text_encoder_2": _openclip(_take(rest, XL_OPENCLIP)),
    }
    if unknown := [name for name in rest if not IGNORED.match(name)]:
        warnings.warn(f"Tensors of no known network are not used: {listing(unknown)}", stacklevel=2)
    return {part: found for part, found in parts.items() if found}


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

    return rename(tensors, native)


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
    """The text encoder of 2.x, which gives the last but one layer's output: the last is unused.

    OpenCLIP's encoders have an even number of layers. Where it is odd, as in files that were made
    from diffusers' folders, the unused one has been left out already.
    """
    found = {k: v for k, v in _openclip(tensors).items() if not k.startswith("text_projection.")}
    layers = 1 + max((int(m[1]) for m in map(folders.LAYER.match, found) if m), default=0)
    return folders.without_layers(found, layers - 1 if layers % 2 == 0 else layers)


def used_layers(text: Tensors) -> Tensors:
    """The text encoder without the 24th layer of OpenCLIP-H, whose output 2.x does not use."""
    width = text.get("final_layer_norm.weight", np.empty(0)).size
    return folders.without_layers(text, OPENCLIP_H.layers) if width == OPENCLIP_H.width else text
