"""Small diffusers pipelines of each family, random but for a seed, and the noise to start them."""

from __future__ import annotations

import gzip
from itertools import count
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from sfumato.diffusion.noise import latent_noise
from sfumato.text import vocabulary

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TEXT_WIDTH = 32
UNET: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": TEXT_WIDTH,
}
KINDS: dict[str, dict[str, Any]] = {
    "1.x": {"attention_head_dim": 4},
    "inpainting": {"attention_head_dim": 4, "in_channels": 9},
    "lcm": {"attention_head_dim": 4, "time_cond_proj_dim": 32},
    "2.x": {"attention_head_dim": (2, 4), "use_linear_projection": True},
    "xl": {
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "cross_attention_dim": 2 * TEXT_WIDTH,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": TEXT_WIDTH + 6 * 256,
    },
}
KINDS["xl inpainting"] = KINDS["xl"] | {"in_channels": 9}
KINDS["editing"] = KINDS["1.x"] | {"in_channels": 8}
KINDS["xl editing"] = KINDS["xl"] | {"in_channels": 8}


def tokenizer(pad: str) -> CLIPTokenizer:
    file = Path(vocabulary.__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(file.read_bytes()).decode().split("\n")[1:48895]
    return CLIPTokenizer(
        vocab=vocabulary.packaged().ids,
        merges=[tuple(line.split()) for line in lines],
        model_max_length=77,
        pad_token=pad,
    )


def text_encoder(activation: str, projection: bool) -> Any:
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=TEXT_WIDTH,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        projection_dim=TEXT_WIDTH,
        hidden_act=activation,
        bos_token_id=49406,
        eos_token_id=49407,
    )
    kind = CLIPTextModelWithProjection if projection else CLIPTextModel
    return kind(config)


def pipeline(kind: str) -> Any:
    """The pipeline of a family; 2.x predicts v. Its scheduler is to be replaced."""
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(16, 32, 32, 32),
        norm_num_groups=8,
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        scaling_factor=0.13025 if kind.startswith("xl") else 0.18215,
    )
    parts: dict[str, Any] = {
        "vae": vae,
        "unet": UNet2DConditionModel(**{**UNET, **KINDS[kind]}),
        "scheduler": DDIMScheduler(
            **NOISE,
            steps_offset=1,
            clip_sample=False,
            prediction_type="v_prediction" if kind == "2.x" else "epsilon",
        ),
        "tokenizer": tokenizer("!" if kind == "2.x" else "<|endoftext|>"),
    }
    if kind.startswith("xl"):
        encoders = text_encoder("quick_gelu", False), text_encoder("gelu", True)
        parts |= {"text_encoder": encoders[0], "text_encoder_2": encoders[1]}
        made = StableDiffusionXLPipeline(**parts, tokenizer_2=tokenizer("!"), add_watermarker=False)
    else:
        parts["text_encoder"] = text_encoder("gelu" if kind == "2.x" else "quick_gelu", False)
        made = StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    with torch.no_grad():  # random networks say little: make these say more
        made.unet.conv_out.weight.mul_(2)
        made.vae.decoder.conv_out.weight.mul_(4)
    made.set_progress_bar_config(disable=True)
    return made


def start_noise(count: int, height: int, width: int) -> np.ndarray:
    """(count, h, w, 4) for pictures of height x width."""
    random = np.random.default_rng(height * width)
    return random.standard_normal((count, height // 8, width // 8, 4), "float32")


def save(kind: str, folder: Path) -> Path:
    pipeline(kind).save_pretrained(folder / kind)
    return folder / kind


def picture(theirs: Any, prompt: str, noise: np.ndarray, **settings: Any) -> np.ndarray:
    """Pictures by a pipeline of diffusers, (B, H, W, 3) of 0..1, from noise (B, h, w, 4)."""
    height, width = (8 * side for side in noise.shape[1:3])
    given = {"height": height, "width": width, "output_type": "np", **settings}
    with torch.no_grad():
        return theirs(prompt, latents=channels_first(noise), **given).images


def channels_first(latents: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(latents, -1, 1).copy())


def draw_as_we_do(monkeypatch: pytest.MonkeyPatch, noise: np.ndarray) -> None:
    """Give diffusers' LCM the noise that Sfumato draws at each step of seed 0."""
    draws = (latent_noise(0, *noise.shape[1:], offset=k)[None] for k in count(1))
    scheduling = diffusers.schedulers.scheduling_lcm
    monkeypatch.setattr(scheduling, "randn_tensor", lambda *_, **__: channels_first(next(draws)))


def assert_same(painted: np.ndarray, expected: np.ndarray) -> None:
    """Pixels (B, H, W, 3), uint8, are those of 0..1 within one level, and show something."""
    assert np.abs(painted.astype(int) - np.round(255 * expected)).max() <= 1
    assert expected.std() > 0.02
