"""The part of a ControlNet-Union that tells what its picture is (xinsir's ControlNetPlus).

One network serves several tasks, such as edges, depth and poses. Of the task it has a vector, which
comes to the mean of the picture's map. What its layers make of that shifts the map.

The authors' layers attend along the axis of the batch. So a picture attends to itself alone, and
attention gives back its value. The latents, which they give to these layers, too, change
nothing.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from sfumato.kernels import Tensor
from sfumato.networks.layers import layer_norm, linear, sized
from sfumato.networks.network import Block


class Shift(keras.layers.Layer):
    """Adds a vector."""

    def build(self, input_shape: Any) -> None:
        self.bias = self.add_weight((input_shape[-1],), name="bias")
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        return x + ops.convert_to_tensor(self.bias)


class MixerLayer(Block):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1 = layer_norm(width)
        self.value = linear(width, width)
        self.out_proj = linear(width, width)
        self.ln_2 = layer_norm(width)
        self.c_fc = linear(width, 4 * width)
        self.c_proj = linear(4 * width, width)

    def call(self, x: Tensor) -> Tensor:
        """x (B, C) -> the same"""
        x = x + self.out_proj(self.value(self.ln_1(x)))
        y = self.c_fc(self.ln_2(x))
        return x + self.c_proj(y * ops.sigmoid(1.702 * y))


class Mixer(Block):
    """A picture's map and a task -> a shift of the map."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.task = sized(Shift(), None, width)
        self.transformer_layes = [MixerLayer(width) for _ in range(layers)]  # sic
        self.spatial_ch_projs = linear(width, width)

    def call(self, hint: Tensor) -> Tensor:
        """hint (B, h, w, C) -> (B, 1, 1, C)"""
        y = self.task(ops.mean(hint, axis=(1, 2)))  # (B, C)
        for layer in self.transformer_layes:
            y = layer(y)
        return self.spatial_ch_projs(y)[:, None, None, :]
