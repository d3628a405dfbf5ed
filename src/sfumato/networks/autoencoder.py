"""Pictures to latents and back: the KL autoencoder (Rombach et al. 2021, arXiv 2112.10752)."""

from __future__ import annotations

import keras
from keras import ops

from sfumato.kernels import Tensor, attention
from sfumato.networks.configs import AutoencoderConfig
from sfumato.networks.layers import (
    Conv3x3,
    Downsample,
    ResnetBlock,
    Upsample,
    activate,
    group_norm,
    linear,
    project,
)
from sfumato.networks.network import Block, Network

EPSILON = 1e-6


class MapAttention(Block):
    """Attention of all positions of a map to each other, with one head."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.group_norm = group_norm(width, groups, EPSILON)
        self.to_qkv = linear(width, 3 * width)
        self.to_out = [linear(width, width)]

    def call(self, x: Tensor) -> Tensor:
        _, H, W, C = x.shape
        qkv = project(self.to_qkv, self.group_norm(x), 3)  # three of (B, H, W, C)
        y = attention(*(ops.reshape(part, (-1, H * W, 1, C)) for part in qkv))  # (B, T, 1, C)
        return x + self.to_out[0](ops.reshape(y, (-1, H, W, C)))


class Middle(Block):
    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.resnets = [ResnetBlock(width, width, groups, EPSILON) for _ in range(2)]
        self.attentions = [MapAttention(width, groups)]

    def call(self, x: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Stage(Block):
    """Residual blocks of one size, then a change of size."""

    def __init__(self, width_in: int, width: int, count: int, groups: int) -> None:
        super().__init__()
        widths_in = [width_in] + [width] * (count - 1)
        self.resnets = [ResnetBlock(w, width, groups, EPSILON) for w in widths_in]
        self.downsamplers: list[Downsample] = []
        self.upsamplers: list[Upsample] = []

    def call(self, x: Tensor) -> Tensor:
        for part in (*self.resnets, *self.downsamplers, *self.upsamplers):
            x = part(x)
        return x


class Encoder(Block):
    """picture (B, H, W, 3) -> mean and log variance of its latents, (B, h, w, 2 C)."""

    def __init__(self, c: AutoencoderConfig) -> None:
        super().__init__()
        self.conv_in = Conv3x3(3, c.channels[0])
        widths_in = (c.channels[0], *c.channels)
        self.down_blocks = [
            Stage(width_in, width, c.layers, c.groups)
            for width_in, width in zip(widths_in, c.channels, strict=False)
        ]
        for stage, width in zip(self.down_blocks[:-1], c.channels, strict=False):
            # Padded at the right and at the bottom only, as the weights were trained.
            stage.downsamplers = [Downsample(width, padding=(0, 1))]
        self.mid_block = Middle(c.channels[-1], c.groups)
        self.conv_norm_out = group_norm(c.channels[-1], c.groups, EPSILON)
        self.conv_out = Conv3x3(c.channels[-1], 2 * c.latent_channels)

    def call(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)  # (B, H, W, C)
        for stage in self.down_blocks:
            x = stage(x)
        x = self.mid_block(x)  # (B, h, w, C)
        return self.conv_out(activate(self.conv_norm_out, x))


class Decoder(Block):
    """latents (B, h, w, C) -> picture (B, H, W, 3)."""

    def __init__(self, c: AutoencoderConfig) -> None:
        super().__init__()
        widths = c.channels[::-1]
        self.conv_in = Conv3x3(c.latent_channels, widths[0])
        self.mid_block = Middle(widths[0], c.groups)
        self.up_blocks = [
            Stage(width_in, width, c.layers + 1, c.groups)
            for width_in, width in zip((widths[0], *widths), widths, strict=False)
        ]
        for stage, width in zip(self.up_blocks[:-1], widths, strict=False):
            stage.upsamplers = [Upsample(width)]
        self.conv_norm_out = group_norm(widths[-1], c.groups, EPSILON)
        self.conv_out = Conv3x3(widths[-1], 3)

    def call(self, x: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(x))  # (B, h, w, C)
        for stage in self.up_blocks:
            x = stage(x)  # (B, H, W, C) after the last
        return self.conv_out(activate(self.conv_norm_out, x))


def scaled(x: Tensor, c: AutoencoderConfig) -> Tensor:
    """Latents of the autoencoder (B, h, w, C) as the denoiser has them."""
    if not c.latents_std:
        return x * c.scaling_factor
    mean, std = (ops.convert_to_tensor(each, x.dtype) for each in (c.latents_mean, c.latents_std))
    return (x - mean) * (c.scaling_factor / std)


def unscaled(x: Tensor, c: AutoencoderConfig) -> Tensor:
    """The inverse of ``scaled``."""
    if not c.latents_std:
        return x / c.scaling_factor
    mean, std = (ops.convert_to_tensor(each, x.dtype) for each in (c.latents_mean, c.latents_std))
    return x * (std / c.scaling_factor) + mean


@keras.saving.register_keras_serializable("sfumato")
class ImageEncoder(Network):
    """picture (B, H, W, 3) in -1..1 -> latents (B, h, w, C): the mean, scaled for the denoiser."""

    config: AutoencoderConfig

    def compose(self, config: AutoencoderConfig) -> None:
        self.encoder = Encoder(config)
        self.quant_conv = linear(2 * config.latent_channels, 2 * config.latent_channels)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the latents, unscaled, each (B, h, w, C)."""
        mean, log_variance = ops.split(self.quant_conv(self.encoder(x)), 2, axis=-1)
        return mean, ops.clip(log_variance, -30.0, 20.0)

    def call(self, x: Tensor) -> Tensor:
        return scaled(self.moments(x)[0], self.config)


@keras.saving.register_keras_serializable("sfumato")
class ImageDecoder(Network):
    """scaled latents (B, h, w, C) -> picture (B, H, W, 3) of about -1..1."""

    config: AutoencoderConfig

    def compose(self, config: AutoencoderConfig) -> None:
        self.post_quant_conv = linear(config.latent_channels, config.latent_channels)
        self.decoder = Decoder(config)

    def call(self, x: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(unscaled(x, self.config)))
