"""The CLIP vision transformer: what a picture as a prompt is seen by (arXiv 2103.00020)."""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import ops

from sfumato.kernels import Tensor
from sfumato.networks.clip import Layers
from sfumato.networks.configs import Activation
from sfumato.networks.layers import layer_norm, linear, sized
from sfumato.networks.network import Block, Network
from sfumato.networks.t2i import folded


@dataclass(frozen=True)
class VisionEncoderConfig:
    """The CLIP vision transformer. The defaults are OpenCLIP's ViT-H/14."""

    width: int = 1280
    layers: int = 32
    heads: int = 16
    mlp_width: int = 5120
    activation: Activation = "gelu"
    patch: int = 14
    """Pixels of a patch along one side."""
    size: int = 224
    """Pixels of a picture along one side."""
    projection: int = 1024
    """Width of the vector that stands for the whole picture."""


class Embeddings(Block):
    def __init__(self, c: VisionEncoderConfig) -> None:
        super().__init__()
        self.patch = c.patch
        positions = (c.size // c.patch) ** 2 + 1
        self.class_embedding = sized(keras.layers.Embedding(1, c.width), None)
        self.patches = linear(3 * c.patch**2, c.width, bias=False)
        self.position_embedding = sized(keras.layers.Embedding(positions, c.width), None)

    def call(self, pixels: Tensor) -> Tensor:
        """pixels (B, H, W, 3) -> (B, T, C), the token of the whole picture first"""
        x = self.patches(folded(pixels, self.patch))  # (B, h, w, C)
        B, h, w, C = x.shape
        x = ops.reshape(x, (-1, h * w, C))
        whole = self.class_embedding(ops.zeros((B, 1), "int32"))  # (B, 1, C)
        x = ops.concatenate([whole, x], axis=1)  # (B, T, C)
        return x + self.position_embedding(ops.arange(1 + h * w)[None])


@keras.saving.register_keras_serializable("sfumato")
class VisionEncoder(Network):
    """pictures (B, H, W, 3), normalised as it was trained -> a vector for each, (B, 1, P)."""

    config: VisionEncoderConfig

    def compose(self, config: VisionEncoderConfig) -> None:
        c = config
        self.embeddings = Embeddings(c)
        self.pre_layrnorm = layer_norm(c.width)  # as CLIP's files spell it
        self.encoder = Layers(c, causal=False)
        self.post_layernorm = layer_norm(c.width)
        self.visual_projection = linear(c.width, c.projection, bias=False)

    def call(self, pixels: Tensor, patches: bool = False) -> Tensor:
        """``patches``: what the last but one layer says of each patch, (B, T, C)."""
        x = self.pre_layrnorm(self.embeddings(pixels))  # (B, T, C)
        for layer in self.encoder.layers[: -1 if patches else None]:
            x = layer(x)
        return x if patches else self.visual_projection(self.post_layernorm(x[:, :1]))
