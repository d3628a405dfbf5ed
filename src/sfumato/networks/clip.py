"""The layers that CLIP's encoders of texts and of pictures share (arXiv 2103.00020)."""

from __future__ import annotations

from typing import Protocol

from keras import ops

from sfumato.kernels import Tensor, attention
from sfumato.networks.configs import Activation
from sfumato.networks.layers import layer_norm, linear, merge_heads, split_heads
from sfumato.networks.network import Block


class ClipConfig(Protocol):
    """The part of a configuration that the layers read."""

    @property
    def width(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def mlp_width(self) -> int: ...
    @property
    def activation(self) -> Activation: ...


class Attention(Block):
    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.qkv_proj = linear(width, 3 * width)
        self.out_proj = linear(width, width)

    def call(self, x: Tensor) -> Tensor:
        qkv = split_heads(self.qkv_proj(x), 3 * self.heads)  # (B, T, 3 N, D)
        q, k, v = ops.split(qkv, 3, axis=2)
        return self.out_proj(merge_heads(attention(q, k, v, causal=self.causal)))


class MLP(Block):
    def __init__(self, c: ClipConfig) -> None:
        super().__init__()
        self.quick = c.activation == "quick_gelu"
        self.fc1 = linear(c.width, c.mlp_width)
        self.fc2 = linear(c.mlp_width, c.width)

    def call(self, x: Tensor) -> Tensor:
        x = self.fc1(x)  # (B, T, 4 C)
        x = x * ops.sigmoid(1.702 * x) if self.quick else ops.gelu(x, approximate=False)
        return self.fc2(x)


class Layer(Block):
    def __init__(self, c: ClipConfig, causal: bool) -> None:
        super().__init__()
        self.layer_norm1 = layer_norm(c.width)
        self.self_attn = Attention(c.width, c.heads, causal)
        self.layer_norm2 = layer_norm(c.width)
        self.mlp = MLP(c)

    def call(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))  # (B, T, C)
        return x + self.mlp(self.layer_norm2(x))


class Layers(Block):
    def __init__(self, c: ClipConfig, causal: bool) -> None:
        super().__init__()
        self.layers = [Layer(c, causal) for _ in range(c.layers)]
