"""Small ControlNets of diffusers, random but for a seed, and its pipelines with them."""

from __future__ import annotations

import inspect
from functools import cached_property
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import small_pipelines
import torch
from diffusers import (
    ControlNetModel,
    ControlNetUnionModel,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionPipeline,
    T2IAdapter,
)
from PIL import Image

from sfumato.stable_diffusion import StableDiffusion

PROMPT, NEGATIVE = "a red apple on a table, oil painting", "blurry, blue"
STEPS = 4


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


def union() -> ControlNetUnionModel:
    """A ControlNet-Union for the small network of XL."""
    config = dict(small_pipelines.pipeline("xl").unet.config)
    names = inspect.signature(ControlNetUnionModel).parameters
    torch.manual_seed(8)
    made = ControlNetUnionModel(
        **{name: config[name] for name in names if name in config},
        conditioning_embedding_out_channels=(8, 12, 16, 24),
        num_trans_channel=32,
        num_proj_channel=32,
    ).eval()
    with torch.no_grad():
        for layer in (
            *(*made.controlnet_down_blocks, made.controlnet_mid_block, made.spatial_ch_projs),
            made.controlnet_cond_embedding.conv_out,
        ):
            layer.weight.normal_(std=0.1)
        made.task_embedding.normal_()
    return made


def adapter() -> T2IAdapter:
    """A T2I-Adapter for the small network of 1.x."""
    torch.manual_seed(7)
    return T2IAdapter(in_channels=3, channels=[32, 64], num_res_blocks=2).eval()


def pipeline(kind: str, net: Any) -> Any:
    """The pipeline of a network that leads, or of several ControlNets."""
    parts = dict(small_pipelines.pipeline(kind).components)
    options = {"add_watermarker": False} if kind == "xl" else {"requires_safety_checker": False}
    if isinstance(net, T2IAdapter):
        del parts["image_encoder"]
        made = StableDiffusionAdapterPipeline(**parts, adapter=net, **options)
    else:
        of_kind = StableDiffusionControlNetPipeline
        if kind == "xl":
            of_kind = StableDiffusionXLControlNetPipeline
        if isinstance(net, ControlNetUnionModel):
            of_kind = StableDiffusionXLControlNetUnionPipeline
        made = of_kind(**parts, controlnet=net, **options)
    made.set_progress_bar_config(disable=True)
    return made


def save(net: Any, folder: Path) -> Path:
    net.save_pretrained(folder)
    return folder


def picture(seed: int = 0, height: int = 64, width: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype("uint8")


class Pair:
    """A model of diffusers' and ours, with two ControlNets."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.nets = [controlnet(kind, seed) for seed in (5, 6)]
        self.files = [str(save(net, folder / f"control {i}")) for i, net in enumerate(self.nets)]
        self.ours = StableDiffusion(64, 48, preset=str(small_pipelines.save(kind, folder)))

    @cached_property
    def plain(self) -> np.ndarray:
        return self.paint()

    def theirs(self, count: int, net: Any = None, **settings: Any) -> np.ndarray:
        """Their picture; ``net``: led by this network, and by none of the ControlNets."""
        made = pipeline(self.kind, net or (self.nets[:count] if count > 1 else self.nets[0]))
        prediction = made.scheduler.config.prediction_type
        made.scheduler = diffusers.EulerDiscreteScheduler(
            **small_pipelines.NOISE, prediction_type=prediction, timestep_spacing="linspace"
        )
        noise = small_pipelines.start_noise(1, 64, 48)
        pictures = [Image.fromarray(picture(i)) for i in range(count)]
        name = "control_image" if isinstance(net, ControlNetUnionModel) else "image"
        with torch.no_grad():
            made = made(
                PROMPT,
                **{name: pictures if count > 1 else pictures[0]},
                negative_prompt=NEGATIVE,
                height=64,
                width=48,
                num_inference_steps=STEPS,
                latents=torch.from_numpy(np.ascontiguousarray(noise.transpose(0, 3, 1, 2))),
                output_type="np",
                **{"guidance_scale": 7.5} | settings,
            )
        return np.round(made.images * 255).astype("int16")

    def paint(self, *settings: dict[str, Any], **fields: Any) -> np.ndarray:
        controls = [
            (file, picture(i), options)
            for i, (file, options) in enumerate(zip(self.files, settings, strict=False))
        ]
        return self.ours.text_to_image(
            PROMPT,
            NEGATIVE,
            1,
            STEPS,
            fields.pop("guidance", 7.5),
            diffusion_noise=small_pipelines.start_noise(1, 64, 48),
            sampler="euler",
            schedule="uniform",
            verbose=False,
            controls=controls,
            **fields,
        ).astype("int16")

    def check(self, got: np.ndarray, expected: np.ndarray) -> None:
        assert got.shape == expected.shape
        assert np.abs(expected - self.plain).mean() > 5  # the ControlNets say something
        assert np.abs(got - expected).max() <= 1
