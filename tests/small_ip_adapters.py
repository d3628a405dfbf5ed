"""Small IP-Adapters with the names of published files, random but for a seed, and encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

WIDTH, PROJECTION, SIZE = 40, 24, 28


def unet() -> Any:
    """A U-Net of which each side attends to the text."""
    torch.manual_seed(0)
    return UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
    ).eval()


def encoder(activation: str = "gelu", width: int = WIDTH) -> CLIPVisionModelWithProjection:
    torch.manual_seed(11)
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=width,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=SIZE,
            patch_size=14,
            projection_dim=PROJECTION,
            hidden_act=activation,
            initializer_range=0.2,
        )
    ).eval()


def adapter(unet: Any, kind: str, seed: int = 0) -> dict[str, dict[str, torch.Tensor]]:
    """The two groups of tensors, by the authors' names, for a U-Net of diffusers."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float = 0.0) -> torch.Tensor:
        return torch.randn(shape, generator=random) * (scale or shape[-1] ** -0.5)

    def norm(name: str, width: int) -> dict[str, torch.Tensor]:
        return {
            f"{name}.weight": 1 + draw(width, scale=0.1),
            f"{name}.bias": draw(width, scale=0.1),
        }

    def linear(name: str, width: int, out: int) -> dict[str, torch.Tensor]:
        return {f"{name}.weight": draw(out, width), f"{name}.bias": draw(out, scale=0.1)}

    context = unet.config.cross_attention_dim
    if kind == "base":
        projection = linear("proj", PROJECTION, 4 * context) | norm("norm", context)
    elif kind == "full":
        projection = linear("proj.0", WIDTH, WIDTH) | linear("proj.2", WIDTH, context)
        projection |= norm("proj.3", context)
    else:
        width, inner = 48, 128
        projection = {"latents": draw(1, 6, width, scale=1)} | linear("proj_in", WIDTH, width)
        for i in range(4):
            attn, ff = f"layers.{i}.0", f"layers.{i}.1"
            projection |= norm(f"{attn}.norm1", width) | norm(f"{attn}.norm2", width)
            projection |= {
                f"{attn}.to_q.weight": draw(inner, width),
                f"{attn}.to_kv.weight": draw(2 * inner, width),
                f"{attn}.to_out.weight": draw(width, inner),
                **norm(f"{ff}.0", width),
                f"{ff}.1.weight": draw(4 * width, width),
                f"{ff}.3.weight": draw(width, 4 * width),
            }
        projection |= linear("proj_out", width, context) | norm("norm_out", context)

    memories = {}
    for i, name in enumerate(unet.attn_processors):
        if "attn2" in name:
            layer = unet.get_submodule(name.removesuffix(".processor"))
            for leaf in ("to_k_ip", "to_v_ip"):
                memories[f"{i}.{leaf}.weight"] = 2 * draw(layer.to_k.out_features, context)
    return {"image_proj": projection, "ip_adapter": memories}


def save(unet: Any, kind: str, folder: Path, seed: int = 0) -> Path:
    """A file of an IP-Adapter, with its encoder near it."""
    folder.mkdir(parents=True, exist_ok=True)
    groups = adapter(unet, kind, seed)
    flat = {f"{g}.{n}": t.contiguous() for g, inner in groups.items() for n, t in inner.items()}
    file = folder / f"ip-adapter_{kind}.safetensors"
    save_file(flat, file)
    if not (folder / "image_encoder").exists():
        encoder().save_pretrained(folder / "image_encoder")
    return file
