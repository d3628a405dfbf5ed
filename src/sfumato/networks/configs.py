"""What distinguishes one network of the family from another, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Activation = Literal["quick_gelu", "gelu"]


@dataclass(frozen=True)
class UNetConfig:
    """The denoiser. The defaults are Stable Diffusion 1.x.

    ``down``, ``mid`` and ``up`` say for every residual block how many transformer blocks follow
    it (0: none), so pruned networks need no switches: an empty ``mid`` is a missing middle block.
    """

    in_channels: int = 4
    out_channels: int = 4
    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    down: tuple[tuple[int, ...], ...] = ((1, 1), (1, 1), (1, 1), (0, 0))
    mid: tuple[int, ...] = (1, 0)
    up: tuple[tuple[int, ...], ...] = ((0, 0, 0), (1, 1, 1), (1, 1, 1), (1, 1, 1))
    heads: tuple[int, ...] = (8, 8, 8, 8)
    context_width: int = 768
    added_width: int = 0
    """Width of the added conditioning of XL (pooled text, sizes and crop); 0: none."""
    groups: int = 32
    linear_projection: bool = False
    """How ``proj_in`` and ``proj_out`` are stored: as linear layers or as 1x1 convolutions."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """Picture to latents and back. The defaults are those of Stable Diffusion 1.x, 2.x and XL."""

    channels: tuple[int, ...] = (128, 256, 512, 512)
    layers: int = 2
    latent_channels: int = 4
    groups: int = 32
    scaling_factor: float = 0.18215

    @property
    def downsampling(self) -> int:
        """Pixels per latent along one side."""
        return 2 ** (len(self.channels) - 1)


@dataclass(frozen=True)
class TextEncoderConfig:
    """The CLIP text transformer. The defaults are CLIP-L, the encoder of 1.x."""

    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    activation: Activation = "quick_gelu"
    vocabulary: int = 49408
    length: int = 77
    projection: int = 0
    """Width of the pooled output's projection; 0: no projection is stored."""
    penultimate: bool = False
    """Give the last but one layer's output without the final norm, as XL uses it."""


CLIP_L = TextEncoderConfig()
OPENCLIP_H = TextEncoderConfig(1024, 23, 16, 4096, "gelu")
OPENCLIP_BIGG = TextEncoderConfig(1280, 32, 20, 5120, "gelu", projection=1280, penultimate=True)
