"""Small ControlNets of diffusers, random but for a seed, and its pipelines with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import small_pipelines
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
    T2IAdapter,
)


def controlnet(kind: str, seed: int = 5, **settings: Any) -> ControlNetModel:
    """A ControlNet whose last layers are not zero, as they are before training."""
    torch.manual_seed(seed)
    unet = small_pipelines.pipeline(kind).unet
    torch.manual_seed(seed)
    made = ControlNetModel.from_unet(
        unet,
        conditioning_embedding_out_channels=(8, 12, 16, 24),
        load_weights_from_unet=False,
        **settings,
    ).eval()
    with torch.no_grad():
        for layer in (*made.controlnet_down_blocks, made.controlnet_mid_block):
            layer.weight.normal_(std=0.1)
            layer.bias.normal_(std=0.1)
        made.controlnet_cond_embedding.conv_out.weight.normal_(std=0.1)
    return made


def adapter() -> T2IAdapter:
    """A T2I-Adapter for the small network of 1.x."""
    torch.manual_seed(7)
    return T2IAdapter(in_channels=3, channels=[32, 64], num_res_blocks=2).eval()


def pipeline(kind: str, controlnets: Sequence[ControlNetModel] | T2IAdapter) -> Any:
    parts = dict(small_pipelines.pipeline(kind).components)
    if isinstance(controlnets, T2IAdapter):
        made = StableDiffusionAdapterPipeline(
            **parts, adapter=controlnets, requires_safety_checker=False
        )
        made.set_progress_bar_config(disable=True)
        return made
    of_kind = StableDiffusionXLControlNetPipeline if kind == "xl" else None
    of_kind = of_kind or StableDiffusionControlNetPipeline
    options = {"add_watermarker": False} if kind == "xl" else {"requires_safety_checker": False}
    nets = [*controlnets] if len(controlnets) > 1 else controlnets[0]
    made = of_kind(**parts, controlnet=nets, **options)
    made.set_progress_bar_config(disable=True)
    return made


def save(net: ControlNetModel, folder: Path) -> Path:
    net.save_pretrained(folder)
    return folder


def picture(seed: int = 0, height: int = 64, width: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype("uint8")
