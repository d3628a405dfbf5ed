"""ControlNets: a second way into the U, led by a picture (Zhang et al. 2023, arXiv 2302.05543)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import keras
from keras import ops

from sfumato.kernels import Tensor
from sfumato.networks.configs import ControlNetConfig
from sfumato.networks.denoiser import Conditioning
from sfumato.networks.descent import Descent, Walk
from sfumato.networks.layers import Conv3x3, linear, repeated
from sfumato.networks.network import Block
from sfumato.networks.union import Mixer


class HintEncoder(Block):
    """Brings a picture to the size and the width of the latents' first map."""

    def __init__(self, channels: int, widths: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.conv_in = Conv3x3(channels, widths[0])
        self.blocks = [
            conv
            for before, after in pairwise(widths)
            for conv in (Conv3x3(before, before), Conv3x3(before, after, 2))
        ]
        self.conv_out = Conv3x3(widths[-1], width)

    def call(self, x: Tensor) -> Tensor:
        """x (B, H, W, C) -> (B, h, w, F)"""
        x = ops.silu(self.conv_in(x))
        for conv in self.blocks:
            x = ops.silu(conv(x))
        return self.conv_out(x)


@keras.saving.register_keras_serializable("sfumato")
class ControlNet(Descent):
    """latents, time, text and a picture -> what is added to the maps of a U-Net, channels last."""

    config: ControlNetConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def compose(self, config: Any) -> None:
        super().compose(config)
        first, last = config.channels[0], config.channels[-1]
        # Their weights were zero before training, so that it began from the U-Net as it was.
        self.controlnet_down_blocks = [linear(C, C) for *_, C in config.skips(1, 1)]
        self.controlnet_mid_block = linear(last, last)
        self.controlnet_cond_embedding = HintEncoder(
            config.hint_channels, config.hint_widths, first
        )
        if config.mixer_layers:
            self.mixer = Mixer(first, config.mixer_layers)

    def see(self, picture: Tensor) -> Tensor:
        """picture (B, H, W, C) of 0..1 -> (B, h, w, F)"""
        x = self.controlnet_cond_embedding(picture)
        return x + self.mixer(x) if self.config.mixer_layers else x

    def predict(
        self, x: Tensor, timestep: Tensor, conditioning: Conditioning, hint: Tensor
    ) -> list[Tensor]:
        """What is to be added to each skip connection and, last, to the middle.

        Args:
            x: latents (B, h, w, C), scaled for the network.
            timestep: () of the training, or its sinusoids (B or 1, C).
            conditioning: of ``prepare``, of n questions about each x.
            hint: (1 or B, h, w, C) of ``see``.

        Returns:
            Maps (n B, h, w, C), or their means (n B, 1, 1, C) if it tells no places.
        """
        walk = Walk(self.embed_time(timestep, conditioning.added), conditioning.memories)
        x, skips = self.down(self.conv_in(x) + hint, walk)
        x = self.middle(x, walk)
        layers = [*self.controlnet_down_blocks, self.controlnet_mid_block]
        maps = [repeated(layer(y), x) for layer, y in zip(layers, [*skips, x], strict=True)]
        if self.config.is_global:
            return [ops.mean(y, axis=(1, 2), keepdims=True) for y in maps]
        return maps

    def call(self, inputs: list[Tensor]) -> list[Tensor]:
        """Predict from everything at once, for training and for use of the network by itself.

        Args:
            inputs: latents (B, h, w, C), ``timestep_embedding`` (B, C), the text (B, T, C), the
                picture (B, H, W, C) of 0..1 and, for XL, ``added`` (B, A).
        """
        latent, waves, context, picture, *added = inputs
        conditioning = Conditioning(self.prepare(context).memories, *added)
        hint = self.see(picture)
        return self.predict(latent, waves, conditioning, hint)
