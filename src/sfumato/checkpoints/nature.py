"""The nature of what is given as a model and is none, so that errors name it and the way out."""

from __future__ import annotations

import re
from collections.abc import Collection

PICKLES = (".ckpt", ".pt", ".pth", ".bin")

AGAIN = "download it again"
CONTENTS: tuple[tuple[bytes, tuple[str, ...], str], ...] = (
    (
        rb"version https://git-lfs",
        (),
        "is a pointer of git-lfs, not the weights. Run `git lfs pull`, or download the file itself",
    ),
    (rb"\s*<(!doctype|html|head|\?xml)", (), f"is a web page (HTML), not weights: {AGAIN}"),
    (rb"PK\x03\x04", PICKLES, "is a zip archive, as PyTorch writes .ckpt"),
    (
        rb"[\s\S]{3}\x00{5}\s*\{\s*(\"|\})",
        (".safetensors", ".pti"),
        "is in the format of .safetensors",
    ),
    (rb"\x89HDF", (".h5",), "is in the format of .h5 (HDF5)"),
    (rb"GGUF|GGML|gg[jm][fl]", (), "is a quantised file (GGUF), which cannot be used"),
    (rb"\x00{32}", (), f"begins with zeros: its download was interrupted; {AGAIN}"),
    (rb"\x89PNG|\xff\xd8\xff|RIFF....WEBP|GIF8", (), "is a picture"),
    (rb"\x1f\x8b|7z\xbc\xaf|Rar!|\xfd7zXZ", (), "is a packed archive: unpack it first"),
)
"""First bytes, the endings that they belong to, and what such a file is."""
TEXT = rb"[\t\n\r\x20-\x7e]{9,}\Z"

HEAD = 64
"""Bytes that are looked at."""

NAMES: tuple[tuple[str, str], ...] = (
    (
        r"lora_|lycoris_|.*\.lora_|.*[._]lora\.|.*\.(hada|lokr)_|.*:(up|down)",
        "a LoRA, which changes a model and is none itself",
    ),
    (
        r"emb_params$|emb$|string_to_(param|token)$|<.*>$|clip_[lg]$|text_encoders_\d",
        "an embedding of textual inversion: a word for a model, no model itself",
    ),
    (r"control_model\.|controlnet_|input_hint_block\.|zero_convs\.", "a ControlNet"),
    (r"image_proj(\.|$)|ip_adapter(\.|$)", "an IP-Adapter"),
    (r"(vision_model|visual|embedder\.model\.visual)\.", "an encoder of pictures (CLIP vision)"),
    (
        r"taesd_|(encoder|decoder)\.layers\.\d|[013]\.(conv\.0\.)?(weight|bias)$|conv1\.weight$",
        "a tiny autoencoder, which decodes for a model (`decoder`) and is none itself",
    ),
    (r".*motion_modules\.", "a motion module of AnimateDiff"),
    (
        r"(params(_ema)?$|body\.\d|conv_first\.|model\.0\.weight|model\.1\.sub|residual_layer)",
        "an upscaler",
    ),
    (
        r"(input_blocks|middle_block|output_blocks)\.",
        "a U-Net by itself, without autoencoder and text encoder",
    ),
)
"""Names of tensors, and what holds them."""


MODELS: tuple[tuple[str, str], ...] = (
    (
        r"(model\.diffusion_model\.)?(joint|double|single|(single_)?transformer)_blocks\.",
        "a diffusion transformer (Stable Diffusion 3, Flux or kin)",
    ),
    (r"(model\.diffusion_model\.)?blocks\.\d", "a diffusion transformer (PixArt, Wan or kin)"),
    (r"(model\.diffusion_model\.)?(clip(_txt)?|effnet)_mapper\.", "Stable Cascade"),
    (r"embedder\.model\.", "Stable unCLIP, which paints from embeddings of pictures"),
    (r"depth_model\.", "a model for pictures with a depth map (depth2img)"),
    (r"model\.diffusion_model\..*\.time_(stack|mixer)", "Stable Video Diffusion"),
    (r"model\.diffusion_model\.label_emb\.weight$", "an upscaler by a factor of 4"),
    (r"model\.diffusion_model\..*(motion_module|temporal_trans)", "AnimateDiff"),
)
"""Names of tensors in whole models of other make, and what these are."""

PIPELINES: tuple[tuple[str, str], ...] = (
    (r".*UnCLIP", "Stable unCLIP, which paints from embeddings of pictures"),
    (r"StableDiffusion(Latent)?Upscale", "an upscaler"),
    (r"StableDiffusionDepth2Img", "a model for pictures with a depth map (depth2img)"),
    (r"StableDiffusionImageVariation", "it varies pictures, without words"),
    (r"StableDiffusion(GLIGEN|LDM3D)|PaintByExample|Marigold|Kolors|Kandinsky|IF|AltDiff", ""),
    (r"StableVideo|I2VGen|TextToVideo|VideoToVideo|AnimateDiff|PIA", "for films"),
    (r"AudioLDM|MusicLDM", "for sounds"),
)
"""Pipelines of diffusers whose U-Nets look like ours, and what they are, besides their names."""


def foreign_model(names: Collection[str]) -> str | None:
    """What a whole model with tensors of these names is, if it is none of 1.x, 2.x or XL."""
    for pattern, what in MODELS:
        if any(re.match(pattern, name) for name in names):
            return what
    return None


def foreign_pipeline(name: str) -> str | None:
    """What a pipeline of diffusers is, by its class, if it is none of ours."""
    for pattern, what in PIPELINES:
        if re.match(pattern, name):
            return f"{name} ({what})" if what else name
    return None


def of_content(head: bytes, ending: str) -> str | None:
    """What a file of this ending is by its first bytes; None if nothing speaks against it."""
    for pattern, endings, what in CONTENTS:
        if re.match(pattern, head, re.IGNORECASE | re.DOTALL):
            if ending in endings:
                return None
            return f"{what}, not {ending}: rename it to end in {endings[0]}" if endings else what
    if ending != ".json" and re.match(TEXT, head):
        return f"is a text, not weights: {AGAIN}"
    return None


def of_names(names: Collection[str]) -> str:
    """What a file with tensors of these names holds, where it is no network of ours."""
    if not names:
        return "no tensors at all"
    if other := foreign_model(names):
        return other
    for pattern, what in NAMES:
        if any(re.match(pattern, name) for name in names):
            return what
    return f"no network of Stable Diffusion; its first tensor is `{next(iter(names))}`"
