"""IP-Adapters: pictures as prompts, for cross-attention (Ye et al. 2023, arXiv 2308.06721)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import ops

from sfumato import kernels
from sfumato.kernels import Tensor
from sfumato.networks.denoiser import Memory
from sfumato.networks.layers import (
    layer_norm,
    linear,
    merge_heads,
    project,
    sized,
    split_heads,
)
from sfumato.networks.network import Block, Network

HEAD = 64
"""Width of a resampler's heads."""


@dataclass(frozen=True)
class IPAdapterConfig:
    """An IP-Adapter for one U-Net."""

    kind: Literal["base", "full", "plus"]
    """It reads one vector of the picture (base) or one of each patch, which it takes as they are
    (full) or sums up (plus)."""
    features: int
    """Width of the vectors that it reads."""
    tokens: int
    """Vectors that it makes of a picture; 0: as many as it reads."""
    context_width: int
    layers: tuple[tuple[int, int, int], ...]
    """The number in the file, the width and the heads of each cross-attention layer, in the order
    in which the data passes them."""
    width: int = 0
    """Of the resampler."""
    heads: int = 0
    depth: int = 0
    mlp_width: int = 0


class OneProjection(Block):
    """One vector to several."""

    def __init__(self, c: IPAdapterConfig) -> None:
        super().__init__()
        self.tokens = c.tokens
        self.proj = linear(c.features, c.tokens * c.context_width)
        self.norm = layer_norm(c.context_width)

    def call(self, x: Tensor) -> Tensor:
        """x (B, 1, P) -> (B, T, C)"""
        x = self.proj(x)
        return self.norm(ops.reshape(x, (-1, self.tokens, x.shape[-1] // self.tokens)))


class FullProjection(Block):
    """Each vector to another."""

    def __init__(self, c: IPAdapterConfig) -> None:
        super().__init__()
        first, second = linear(c.features, c.features), linear(c.features, c.context_width)
        self.proj = [first, None, second, layer_norm(c.context_width)]  # 1: GELU

    def call(self, x: Tensor) -> Tensor:
        """x (B, T, P) -> (B, T, C)"""
        first, _, second, norm = self.proj
        return norm(second(ops.gelu(first(x), approximate=False)))


class Reading(Block):
    """Attention of a few vectors to those of the patches and to themselves."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = layer_norm(width)
        self.norm2 = layer_norm(width)
        self.to_q = linear(width, heads * HEAD, bias=False)
        self.to_kv = linear(width, 2 * heads * HEAD, bias=False)
        self.to_out = linear(heads * HEAD, width, bias=False)

    def call(self, x: Tensor, patches: Tensor) -> Tensor:
        """x (B, T, C) and patches (B, S, C) -> (B, T, C)"""
        x = self.norm2(x)
        seen = ops.concatenate([self.norm1(patches), x], axis=1)  # (B, S + T, C)
        q = split_heads(self.to_q(x), self.heads)  # (B, T, N, D)
        k, v = (split_heads(y, self.heads) for y in project(self.to_kv, seen, 2))
        return self.to_out(merge_heads(kernels.attention(q, k, v)))


class ResamplerLayer(Block):
    def __init__(self, c: IPAdapterConfig) -> None:
        super().__init__()
        self.attn = Reading(c.width, c.heads)
        first = linear(c.width, c.mlp_width, bias=False)
        second = linear(c.mlp_width, c.width, bias=False)
        self.ff = [layer_norm(c.width), first, None, second]  # 2: GELU

    def call(self, x: Tensor, patches: Tensor) -> Tensor:
        norm, first, _, second = self.ff
        x = x + self.attn(x, patches)
        return x + second(ops.gelu(first(norm(x)), approximate=False))


class Resampler(Block):
    """The vectors of all patches to a few (after Alayrac et al. 2022, arXiv 2204.14198)."""

    def __init__(self, c: IPAdapterConfig) -> None:
        super().__init__()
        self.latent_embedding = sized(keras.layers.Embedding(c.tokens, c.width), None)
        self.proj_in = linear(c.features, c.width)
        self.layers = [ResamplerLayer(c) for _ in range(c.depth)]
        self.proj_out = linear(c.width, c.context_width)
        self.norm_out = layer_norm(c.context_width)
        self.tokens = c.tokens

    def call(self, patches: Tensor) -> Tensor:
        """patches (B, S, P) -> (B, T, C)"""
        x = self.latent_embedding(ops.arange(self.tokens)[None])  # (1, T, C)
        x = ops.concatenate([x] * patches.shape[0], axis=0)  # (B, T, C)
        patches = self.proj_in(patches)
        for layer in self.layers:
            x = layer(x, patches)
        return self.norm_out(self.proj_out(x))


class Recall(Block):
    """The keys and the values by which one cross-attention layer remembers a picture."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_k_ip = linear(context_width, width, bias=False)
        self.to_v_ip = linear(context_width, width, bias=False)

    def call(self, x: Tensor) -> Memory:
        """x (B, T, C) -> keys and values (B, T, N, D)"""
        k, v = self.to_k_ip(x), self.to_v_ip(x)
        return Memory(split_heads(k, self.heads), split_heads(v, self.heads))


PROJECTIONS = {"base": OneProjection, "full": FullProjection, "plus": Resampler}


@keras.saving.register_keras_serializable("sfumato")
class IPAdapter(Network):
    """A picture as a ``VisionEncoder`` sees it -> the vectors that are attended to, (B, T, C)."""

    config: IPAdapterConfig

    def compose(self, config: IPAdapterConfig) -> None:
        c = config
        self.image_proj = PROJECTIONS[c.kind](c)
        made = {n: Recall(width, c.context_width, heads) for n, width, heads in c.layers}
        self.ip_adapter = [made.get(n) for n in range(1 + max(made))]  # even numbers: none

    def remember(self, features: Tensor) -> list[Memory]:
        """The memory of each cross-attention layer, in the order in which the data passes them."""
        tokens = self.image_proj(features)
        layers: Any = [self.ip_adapter[number] for number, *_ in self.config.layers]
        return [layer(tokens) for layer in layers]

    def call(self, features: Tensor) -> Tensor:
        return self.image_proj(features)
