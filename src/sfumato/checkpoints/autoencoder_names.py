"""The names of the autoencoder in single files and in older folders -> the native ones."""

from __future__ import annotations

import re

from sfumato.checkpoints.tensors import Tensors, rename

AUTOENCODER = [
    (r"\bmid\.block_1\.", "mid_block.resnets.0."),
    (r"\bmid\.block_2\.", "mid_block.resnets.1."),
    (r"\bmid\.attn_1\.norm\.", "mid_block.attentions.0.group_norm."),
    (r"\bmid\.attn_1\.proj_out\.", "mid_block.attentions.0.to_out.0."),
    (r"\bmid\.attn_1\.([qkv])\.", r"mid_block.attentions.0.to_\1."),
    (r"\bmid\.attn_1\.", "mid_block.attentions.0."),  # of diffusers' script, half renamed
    (r"\bdown\.(\d+)\.block\.", r"down_blocks.\1.resnets."),
    (r"\bdown\.(\d+)\.downsample\.", r"down_blocks.\1.downsamplers.0."),
    (r"\bnin_shortcut\.", "conv_shortcut."),
    (r"\bnorm_out\.", "conv_norm_out."),
]
# Attention as diffusers named it before version 0.15.
OLD_ATTENTION = [
    (r"(\.attentions\..*)\.query\.", r"\1.to_q."),
    (r"(\.attentions\..*)\.key\.", r"\1.to_k."),
    (r"(\.attentions\..*)\.value\.", r"\1.to_v."),
    (r"(\.attentions\..*)\.proj_attn\.", r"\1.to_out.0."),
]


def rename_vae(tensors: Tensors) -> Tensors:
    """The tensors of an autoencoder by native name, whichever way it is named.

    CompVis counts the upper levels from below.
    """
    ups = [int(match[1]) for name in tensors if (match := re.match(r"decoder\.up\.(\d+)\.", name))]
    top = max(ups, default=0)

    def native(name: str) -> str:
        for pattern, replacement in (*AUTOENCODER, *OLD_ATTENTION):
            name = re.sub(pattern, replacement, name)
        if match := re.match(r"decoder\.up\.(\d+)\.(block|upsample)\.", name):
            part = "resnets." if match[2] == "block" else "upsamplers.0."
            name = f"decoder.up_blocks.{top - int(match[1])}.{part}{name[match.end() :]}"
        return name

    return rename(tensors, native)


def rename_tiny(tensors: Tensors) -> Tensors:
    """The tensors of a tiny autoencoder by native name; others as they are.

    Its author's files number the layers of one half, in which the decoder's first is none with
    weights; ComfyUI's put both halves into one file.
    """
    sides = {"taesd_encoder.": ("encoder.layers.", 0), "taesd_decoder.": ("decoder.layers.", -1)}
    if "0.weight" in tensors and "1.conv.0.weight" in tensors:
        sides = {"": sides["taesd_encoder."]}
    elif "1.weight" in tensors and "3.conv.0.weight" in tensors:
        sides = {"": sides["taesd_decoder."]}
    elif not any(name.startswith(tuple(sides)) for name in tensors):
        return tensors

    def native(name: str) -> str:
        for prefix, (ours, step) in sides.items():
            if match := re.match(re.escape(prefix) + r"(\d{1,2})\.", name):
                return f"{ours}{int(match[1]) + step}.{name[match.end() :]}"
        return name

    kept = {n: each for n, each in tensors.items() if n not in ("vae_scale", "vae_shift")}
    return rename(kept, native)
