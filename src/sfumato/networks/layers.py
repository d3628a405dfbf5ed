"""The layers that the networks share."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from sfumato import kernels
from sfumato.kernels import Tensor
from sfumato.networks.denoiser import Memory
from sfumato.networks.network import Block

Around = Callable[[Any, Tensor], Tensor]
"""Applies a self-attention layer to tokens in a way of its own, such as ``TokenMerging``."""

# Leaves


def sized(layer: keras.layers.Layer, *shape: int | None) -> Any:
    """``layer``, to be built for inputs of this shape."""
    layer.built_for = shape
    return layer


def linear(width_in: int, width: int, bias: bool = True) -> Any:
    return sized(keras.layers.Dense(width, use_bias=bias), None, width_in)


def tensors(*variables: Any) -> list[Any]:
    """The values of a layer's variables in the dtype that it computes in; None of none."""
    return [None if v is None else ops.convert_to_tensor(v) for v in variables]


def project(layer: Any, x: Tensor, count: int) -> list[Tensor]:
    """The result of the linear ``layer`` in ``count`` equal parts: (..., C) -> (..., F / count)."""
    if layer.quantization_mode:  # by Keras, with a scale aside
        return ops.split(layer(x), count, axis=-1)
    kernel, bias = tensors(layer.kernel, layer.bias)
    return kernels.split_linear(x, kernel, bias, count)


class Conv3x3(keras.layers.Conv2D):
    """A 3x3 convolution, channels last, padded before and after each axis by ``padding``."""

    def __init__(
        self, width_in: int, width: int, stride: int = 1, padding: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__(width, 3, stride, data_format="channels_last")
        self.built_for = (None, None, None, width_in)
        self.edges = padding

    def call(self, x: Tensor) -> Tensor:
        """x (B, H, W, C) -> (B, H / stride, W / stride, F)"""
        kernel, bias = tensors(self.kernel, self.bias)
        return kernels.conv3x3(x, kernel, bias, self.strides[0], self.edges)


class GroupNorm(keras.layers.GroupNormalization):
    def call(self, x: Tensor) -> Tensor:
        """x (B, H, W, C) -> the same"""
        gamma, beta = tensors(self.gamma, self.beta)
        return kernels.group_norm(x, gamma, beta, self.groups, self.epsilon)


class LayerNorm(keras.layers.LayerNormalization):
    def call(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> the same"""
        gamma, beta = tensors(self.gamma, self.beta)
        return kernels.layer_norm(x, gamma, beta, self.epsilon)


def group_norm(width: int, groups: int, epsilon: float) -> Any:
    return sized(GroupNorm(groups, -1, epsilon), None, None, None, width)


def layer_norm(width: int) -> Any:
    return sized(LayerNorm(epsilon=1e-5), None, None, width)


def activate(norm: Any, x: Tensor, shift: Tensor | None = None) -> Tensor:
    """silu(norm(x + shift)): x (B, H, W, C), shift (B or 1, 1, 1, C)."""
    return ops.silu(norm(x if shift is None else x + shift))


def repeated(x: Tensor, like: Tensor) -> Tensor:
    """Repeat x (B, ...) to the batch of ``like`` (n B, ...): -> (n B, ...).

    The questions about x are the same until they meet the text, so that much of a guided pair is
    computed once.
    """
    B, asked = x.shape[0], like.shape[0]
    if None in (B, asked) or asked <= B:
        return x
    return ops.concatenate([x] * (asked // B), axis=0)


# Blocks


class ResnetBlock(Block):
    """Two convolutions with a residual; ``shift`` is the time, projected for this block."""

    def __init__(
        self, width_in: int, width: int, groups: int, epsilon: float, time_width: int = 0
    ) -> None:
        super().__init__()
        self.norm1 = group_norm(width_in, groups, epsilon)
        self.conv1 = Conv3x3(width_in, width)
        if time_width:
            self.time_emb_proj = linear(time_width, width)
        self.norm2 = group_norm(width, groups, epsilon)
        self.conv2 = Conv3x3(width, width)
        if width_in != width:
            self.conv_shortcut = linear(width_in, width)

    def call(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        y = self.conv1(activate(self.norm1, x))  # (B, H, W, F)
        y = self.conv2(activate(self.norm2, y, shift))  # (B, H, W, F)
        return y + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class SelfAttention(Block):
    """Attention of a sequence to itself, its queries, keys and values from one matmul."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = linear(width, 3 * width, bias=False)
        self.to_out = [linear(width, width)]

    def call(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(y, self.heads) for y in project(self.to_qkv, x, 3))  # (B, T, N, D)
        return self.to_out[0](merge_heads(kernels.attention(q, k, v)))


class CrossAttention(Block):
    """Attention to the text and to other memories, computed once for all steps."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = linear(width, width, bias=False)
        self.to_k = linear(context_width, width, bias=False)
        self.to_v = linear(context_width, width, bias=False)
        self.to_out = [linear(width, width)]

    def embed(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """context (B, T, C) -> keys and values (B, T, N, D)."""
        k, v = self.to_k(context), self.to_v(context)  # (B, T, C)
        return split_heads(k, self.heads), split_heads(v, self.heads)

    def call(self, x: Tensor, memories: list[Memory]) -> Tensor:
        """x (n B, T, C) or, with other texts for the same x, (B, T, C) -> (n B, T, C)."""
        q = split_heads(self.to_q(x), self.heads)  # (n B, T, N, D)
        y = merge_heads(kernels.attention(q, *memories[0]))  # (n B, T, C)
        for memory in memories[1:]:  # one of the compilers crashes on sums of separate heads
            y = y + merge_heads(kernels.attention(q, *memory))
        return self.to_out[0](y)


class GEGLU(Block):
    """A gated linear unit with the exact GELU (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, width: int, width_out: int) -> None:
        super().__init__()
        self.proj = linear(width, 2 * width_out)

    def call(self, x: Tensor) -> Tensor:
        x, gate = project(self.proj, x, 2)  # (B, T, F) each
        return x * ops.gelu(gate, approximate=False)


class FeedForward(Block):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = [GEGLU(width, 4 * width), None, linear(4 * width, width)]  # 1: dropout

    def call(self, x: Tensor) -> Tensor:
        return self.net[2](self.net[0](x))


class TransformerBlock(Block):
    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = layer_norm(width)
        self.attn1 = SelfAttention(width, heads)
        self.norm2 = layer_norm(width)
        self.attn2 = CrossAttention(width, context_width, heads)
        self.norm3 = layer_norm(width)
        self.ff = FeedForward(width)

    def call(self, x: Tensor, memories: list[Memory], around: Around | None = None) -> Tensor:
        attn1 = partial(around, self.attn1) if around else self.attn1
        x = repeated(x + attn1(self.norm1(x)), memories[0].keys)  # (n B, T, C)
        x = x + self.attn2(self.norm2(x), memories)  # (n B, T, C)
        return x + self.ff(self.norm3(x))


class Transformer(Block):
    """Transformer blocks over the positions of a map."""

    def __init__(self, width: int, context_width: int, heads: int, depth: int, groups: int) -> None:
        super().__init__()
        self.norm = group_norm(width, groups, 1e-6)
        self.proj_in = linear(width, width)
        self.transformer_blocks = [
            TransformerBlock(width, context_width, heads) for _ in range(depth)
        ]
        self.proj_out = linear(width, width)

    def call(self, x: Tensor, memories: list[list[Memory]], around: Around | None = None) -> Tensor:
        _, H, W, C = x.shape
        y = ops.reshape(self.proj_in(self.norm(x)), (-1, H * W, C))  # (B, T, C)
        for block, of_block in zip(self.transformer_blocks, memories, strict=True):
            y = block(y, of_block, around=around)  # (n B, T, C)
        return repeated(x, y) + self.proj_out(ops.reshape(y, (-1, H, W, C)))


class Downsample(Block):
    def __init__(self, width: int, padding: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.conv = Conv3x3(width, width, 2, padding)

    def call(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Upsample(Block):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = Conv3x3(width, width)

    def call(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """x (B, H, W, C) -> (B, 2H, 2W, C), cut to the size of a skip connection if it is odd."""
        # Not its size: ``keras.RematScope`` makes tensors of a layer's arguments.
        height, width = (None, None) if skip is None else skip.shape[1:3]
        kernel, bias = tensors(self.conv.kernel, self.conv.bias)
        return kernels.conv3x3_enlarged(x, kernel, bias, height, width)


class TimestepEmbedding(Block):
    def __init__(self, width_in: int, width: int, guidance: int = 0) -> None:
        super().__init__()
        self.linear_1 = linear(width_in, width)
        if guidance:
            self.cond_proj = linear(guidance, width_in, bias=False)
        self.linear_2 = linear(width, width)

    def call(self, x: Tensor, guidance: Tensor | None = None) -> Tensor:
        """x (B, C), and maybe the sinusoids (1, G) of the guidance -> (B, F)"""
        if guidance is not None:
            x = x + self.cond_proj(guidance)
        return self.linear_2(ops.silu(self.linear_1(x)))


def timestep_embedding(timesteps: Tensor, width: int) -> Tensor:
    """Sinusoids of the timesteps: (B,) -> (B, width) float32, first cosines, then sines.

    Ho et al. 2020 (arXiv 2006.11239), after Vaswani et al. 2017.
    """
    half = width // 2
    frequencies = np.exp(-math.log(10000.0) / half * np.arange(half))
    angles = ops.cast(timesteps, "float32")[:, None] * ops.cast(frequencies, "float32")
    return ops.concatenate([ops.cos(angles), ops.sin(angles)], axis=-1)


def guidance_embedding(guidance: Tensor, width: int) -> Tensor:
    """Sinusoids of a guidance scale less 1: () -> (1, width) float32, first sines, then cosines.

    Meng et al. 2023 (arXiv 2210.03142), as latent consistency models have it (Luo et al. 2023).
    """
    half = width // 2
    frequencies = np.exp(-math.log(10000.0) / (half - 1) * np.arange(half))
    angles = 1000.0 * ops.cast(guidance, "float32") * ops.cast(frequencies, "float32")[None]
    return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, N * D) -> (B, T, N, D)"""
    _, T, C = x.shape
    return ops.reshape(x, (-1, T, heads, C // heads))


def merge_heads(x: Tensor) -> Tensor:
    """(B, T, N, D) -> (B, T, N * D)"""
    _, T, N, D = x.shape
    return ops.reshape(x, (-1, T, N * D))
