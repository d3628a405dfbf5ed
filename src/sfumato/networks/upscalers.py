"""Networks that enlarge pictures: RRDBNet, SRVGGNetCompact and RDN.

Each takes pictures (B, H, W, 3) of 0..1 and returns (B, s H, s W, 3) of about 0..1. A pixel of the
result depends on those of the small picture that are up to ``reach`` away.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import ops

from sfumato.kernels import Tensor, conv3x3_enlarged
from sfumato.networks.layers import Conv3x3, linear, sized, tensors
from sfumato.networks.network import Block, Network

RGB = 3


@dataclass(frozen=True)
class RRDBConfig:
    """ESRGAN (Wang et al. 2018, arXiv 1809.00219) and Real-ESRGAN (2021, arXiv 2107.10833)."""

    width: int = 64
    growth: int = 32
    blocks: int = 23
    doublings: int = 2
    unshuffle: int = 1
    """Pixels of a side that become channels before the first layer."""

    @property
    def scale(self) -> int:
        return 2**self.doublings // self.unshuffle

    @property
    def reach(self) -> int:
        return self.unshuffle * (15 * self.blocks + 2 + 2 + 1)  # at most 2 for all after the body


@dataclass(frozen=True)
class CompactConfig:
    """SRVGGNetCompact of Real-ESRGAN: convolutions of the small picture, and the picture itself."""

    width: int = 64
    convs: int = 16
    """Between the first and the last."""
    scale: int = 4

    @property
    def reach(self) -> int:
        return self.convs + 2


@dataclass(frozen=True)
class RDNConfig:
    """A residual dense network (Zhang et al. 2018, arXiv 1802.08797)."""

    width: int = 64
    growth: int = 64
    blocks: int = 10
    layers: int = 1
    """Convolutions of a block."""
    scale: int = 4

    @property
    def reach(self) -> int:
        return self.blocks * self.layers + 3 + 2 + 2 + 1


UpscalerConfig = RRDBConfig | CompactConfig | RDNConfig


def pixel_shuffle(x: Tensor, scale: int) -> Tensor:
    """Channels to pixels, a colour's next to one another: (B, h, w, s s C) -> (B, s h, s w, C)."""
    _, h, w, D = x.shape
    C = D // scale**2
    x = ops.reshape(x, (-1, h, w, C, scale, scale))
    x = ops.transpose(x, (0, 1, 4, 2, 5, 3))  # (B, h, s, w, s, C)
    return ops.reshape(x, (-1, h * scale, w * scale, C))


def pixel_unshuffle(x: Tensor, scale: int) -> Tensor:
    """Pixels to channels: (B, s h, s w, C) -> (B, h, w, s s C)."""
    _, H, W, C = x.shape
    h, w = H // scale, W // scale
    x = ops.reshape(x, (-1, h, scale, w, scale, C))
    x = ops.transpose(x, (0, 1, 3, 5, 2, 4))  # (B, h, w, C, s, s)
    return ops.reshape(x, (-1, h, w, C * scale**2))


def enlarged(x: Tensor, scale: int) -> Tensor:
    """x (B, H, W, C) by nearest neighbour: (B, s H, s W, C)."""
    return ops.repeat(ops.repeat(x, scale, axis=1), scale, axis=2)


def leaky(x: Tensor) -> Tensor:
    return ops.leaky_relu(x, 0.2)


# RRDBNet


class DenseBlock(Block):
    """Five convolutions, each of which sees the results of all before it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.conv1 = Conv3x3(width, growth)
        self.conv2 = Conv3x3(width + growth, growth)
        self.conv3 = Conv3x3(width + 2 * growth, growth)
        self.conv4 = Conv3x3(width + 3 * growth, growth)
        self.conv5 = Conv3x3(width + 4 * growth, width)

    def call(self, x: Tensor) -> Tensor:
        y = x  # (B, H, W, C + k G)
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            y = ops.concatenate([y, leaky(conv(y))], axis=-1)
        return x + 0.2 * self.conv5(y)


class RRDB(Block):
    """Three dense blocks and a residual around them."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(width, growth)
        self.rdb2 = DenseBlock(width, growth)
        self.rdb3 = DenseBlock(width, growth)

    def call(self, x: Tensor) -> Tensor:
        return x + 0.2 * self.rdb3(self.rdb2(self.rdb1(x)))


@keras.saving.register_keras_serializable("sfumato")
class RRDBNet(Network):
    config: RRDBConfig

    def compose(self, config: RRDBConfig) -> None:
        width = config.width
        self.conv_first = Conv3x3(RGB * config.unshuffle**2, width)
        self.body = [RRDB(width, config.growth) for _ in range(config.blocks)]
        self.conv_body = Conv3x3(width, width)
        self.conv_up = [Conv3x3(width, width) for _ in range(config.doublings)]
        self.conv_hr = Conv3x3(width, width)
        self.conv_last = Conv3x3(width, RGB)

    def call(self, x: Tensor) -> Tensor:
        x = first = self.conv_first(pixel_unshuffle(x, self.config.unshuffle))  # (B, h, w, C)
        for block in self.body:
            x = block(x)
        x = first + self.conv_body(x)
        for conv in self.conv_up:
            kernel, bias = tensors(conv.kernel, conv.bias)
            x = leaky(conv3x3_enlarged(x, kernel, bias))  # (B, 2h, 2w, C)
        return self.conv_last(leaky(self.conv_hr(x)))


# SRVGGNetCompact


class PReLU(keras.layers.Layer):
    """A rectifier with a slope for each channel (He et al. 2015, arXiv 1502.01852)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.built_for = (None, None, None, width)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.slope = self.add_weight(shape=input_shape[-1:], name="weight")

    def call(self, x: Tensor) -> Tensor:
        (slope,) = tensors(self.slope)
        return ops.maximum(x, 0) + slope * ops.minimum(x, 0)


@keras.saving.register_keras_serializable("sfumato")
class CompactNet(Network):
    config: CompactConfig

    def compose(self, config: CompactConfig) -> None:
        width = config.width
        self.body = [Conv3x3(RGB, width), PReLU(width)]
        for _ in range(config.convs):
            self.body += [Conv3x3(width, width), PReLU(width)]
        self.body += [Conv3x3(width, RGB * config.scale**2)]

    def call(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.body:
            y = layer(y)
        return enlarged(x, self.config.scale) + pixel_shuffle(y, self.config.scale)


# RDN


class ResidualDenseBlock(Block):
    def __init__(self, config: RDNConfig) -> None:
        super().__init__()
        width, growth = config.width, config.growth
        self.convs = [Conv3x3(width + i * growth, growth) for i in range(config.layers)]
        self.fusion = linear(width + config.layers * growth, width)

    def call(self, x: Tensor) -> Tensor:
        y = x
        for conv in self.convs:
            y = ops.concatenate([y, ops.relu(conv(y))], axis=-1)
        return x + self.fusion(y)


@keras.saving.register_keras_serializable("sfumato")
class RDN(Network):
    """The form that enlarges by nearest neighbour before the last convolution.

    Its weights were trained on pictures of 0..255.
    """

    config: RDNConfig

    def compose(self, config: RDNConfig) -> None:
        width, pixels = config.width, RGB * config.scale**2
        self.shallow = [Conv3x3(RGB, width), Conv3x3(width, width)]
        self.blocks = [ResidualDenseBlock(config) for _ in range(config.blocks)]
        self.fusion = linear(config.blocks * width, width)
        self.conv_body = Conv3x3(width, width)
        first = keras.layers.Conv2D(width, 5, padding="same", data_format="channels_last")
        self.up = [
            sized(first, None, None, None, width),
            Conv3x3(width, width // 2),
            Conv3x3(width // 2, pixels),
        ]
        self.conv_last = Conv3x3(pixels, RGB)

    def call(self, x: Tensor) -> Tensor:
        first = self.shallow[0](255.0 * x)  # (B, H, W, C)
        x = self.shallow[1](first)
        found = []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        x = first + self.conv_body(self.fusion(ops.concatenate(found, axis=-1)))
        x = self.up[2](ops.relu(self.up[1](ops.relu(self.up[0](x)))))
        return self.conv_last(enlarged(x, self.config.scale)) / 255.0  # (B, s H, s W, 3)
