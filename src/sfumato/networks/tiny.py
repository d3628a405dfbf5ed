"""Pictures to latents and back in an eighteenth of the work: the tiny autoencoder TAESD.

Ollin Boer Bohan, https://github.com/madebyollin/taesd. It reads and writes the latents of the
denoiser, without a scaling factor in between.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

from sfumato import kernels
from sfumato.kernels import Tensor
from sfumato.networks.configs import TINY_DECODER, TINY_ENCODER, TinyAutoencoderConfig
from sfumato.networks.layers import Conv3x3
from sfumato.networks.network import Block, Network

MAGNITUDE = 3
"""The decoder takes latents from about -3 to 3, and those beyond softly back."""


class Resized(Conv3x3):
    """A convolution without a bias, of a map that becomes half (``stride`` 2) or twice as large."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__(width, width, stride)
        self.use_bias = False

    def call(self, x: Tensor) -> Tensor:
        """x (B, H, W, C) -> (B, H / 2, W / 2, C) or (B, 2 H, 2 W, C)"""
        kernel = ops.convert_to_tensor(self.kernel)
        bias = ops.zeros(self.filters, kernel.dtype)
        if self.strides[0] == 2:
            return kernels.conv3x3(x, kernel, bias, 2, self.edges)
        return kernels.conv3x3_enlarged(x, kernel, bias)


class TinyBlock(Block):
    """Three convolutions with a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Where a file counts a ReLU, there is nothing
        self.conv: list[Any] = [None if i % 2 else Conv3x3(width, width) for i in range(5)]

    def call(self, x: Tensor) -> Tensor:
        y = x  # (B, H, W, C)
        for conv in self.conv[:-1:2]:
            y = ops.relu(conv(y))
        return ops.relu(self.conv[-1](y) + x)


class Layers(Block):
    """Layers one after the other, of these widths before, within and behind them."""

    def __init__(self, kinds: tuple[str, ...], widths: tuple[int, int, int]) -> None:
        super().__init__()
        before, width, behind = widths
        make: dict[str, Callable[[], Any]] = {
            "block": partial(TinyBlock, width),
            "half": partial(Resized, width, 2),
            "double": partial(Resized, width, 1),
            "relu": keras.layers.ReLU,
            "": lambda: None,  # where a file counts the enlargement
        }
        inner = [make[kind]() for kind in kinds[1:-1]]
        self.layers = [Conv3x3(before, width), *inner, Conv3x3(width, behind)]

    def call(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x if layer is None else layer(x)
        return x


@keras.saving.register_keras_serializable("sfumato")
class TinyImageEncoder(Network):
    """picture (B, H, W, 3) in -1..1 -> latents (B, h, w, C), scaled for the denoiser."""

    config: TinyAutoencoderConfig

    def compose(self, config: TinyAutoencoderConfig) -> None:
        self.encoder = Layers(TINY_ENCODER, (3, config.width, config.latent_channels))

    def call(self, x: Tensor) -> Tensor:
        return self.encoder((x + 1) / 2) * self.config.scaling_factor


@keras.saving.register_keras_serializable("sfumato")
class TinyImageDecoder(Network):
    """scaled latents (B, h, w, C) -> picture (B, H, W, 3) of about -1..1."""

    config: TinyAutoencoderConfig

    def compose(self, config: TinyAutoencoderConfig) -> None:
        self.decoder = Layers(TINY_DECODER, (config.latent_channels, config.width, 3))

    def call(self, x: Tensor) -> Tensor:
        x = ops.tanh(x / self.config.scaling_factor / MAGNITUDE) * MAGNITUDE
        return self.decoder(x) * 2 - 1
