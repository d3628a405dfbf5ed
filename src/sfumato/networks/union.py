"""The part of a ControlNet-Union that tells what its picture is (xinsir's ControlNetPlus).

One network serves several tasks, such as edges, depth and poses. Of the task it has a vector, which
comes to the mean of the picture's map. That and the mean of the latents' map attend to each other,
and the outcome shifts what is added to the latents.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from sfumato import kernels
from sfumato.kernels import Tensor
from sfumato.networks.layers import layer_norm, linear, merge_heads, project, sized, split_heads
from sfumato.networks.network import Block

HEADS = 8


class Shift(keras.layers.Layer):
    """Adds a vector."""

    def build(self, input_shape: Any) -> None:
        self.bias = self.add_weight((input_shape[-1],), name="bias")
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        return x + ops.convert_to_tensor(self.bias)


class Attention(Block):
    """Attention of a few vectors to each other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_proj = linear(width, 3 * width)
        self.out_proj = linear(width, width)

    def call(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> the same"""
        q, k, v = (split_heads(y, HEADS) for y in project(self.in_proj, x, 3))
        return self.out_proj(merge_heads(kernels.attention(q, k, v)))


class Perceptron(Block):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = linear(width, 4 * width)
        self.c_proj = linear(4 * width, width)

    def call(self, x: Tensor) -> Tensor:
        y = self.c_fc(x)
        return self.c_proj(y * ops.sigmoid(1.702 * y))


class MixerLayer(Block):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = Attention(width)
        self.ln_1 = layer_norm(width)
        self.mlp = Perceptron(width)
        self.ln_2 = layer_norm(width)

    def call(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Mixer(Block):
    """What the means of the picture and of the latents make of each other."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.task = sized(Shift(), None, width)
        self.transformer_layes = [MixerLayer(width) for _ in range(layers)]  # sic
        self.spatial_ch_projs = linear(width, width)

    def call(self, hint: Tensor, x: Tensor) -> Tensor:
        """hint (1 or B, h, w, C) and latents (B, h, w, C) -> a shift (B, 1, 1, C)."""
        of_latents = ops.mean(x, axis=(1, 2))  # (B, C)
        of_hint = self.task(ops.mean(hint, axis=(1, 2))) + ops.zeros_like(of_latents)
        y = ops.stack([of_hint, of_latents], axis=1)  # (B, 2, C)
        for layer in self.transformer_layes:
            y = layer(y)
        return self.spatial_ch_projs(y[:, 0])[:, None, None, :]
