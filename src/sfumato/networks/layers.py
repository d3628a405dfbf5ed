"""The layers that the networks share."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from sfumato.networks.denoiser import Memory
from sfumato.networks.kernels import (
    Tensor,
    attention,
    convolve_3x3,
    convolve_enlarged,
    enlarge,
    fuses_norms,
    platform,
    prefers_differences,
    prefers_matmul,
)
from sfumato.networks.merging import TokenMerging
from sfumato.networks.network import Block

# Leaves


def known(layer: keras.layers.Layer, *shape: int | None) -> Any:
    """``layer`` with the shape that it will be built for."""
    layer.built_for = shape
    return layer


def linear(width_in: int, width: int, bias: bool = True) -> Any:
    return known(keras.layers.Dense(width, use_bias=bias), None, width_in)


def tensors(*variables: Any) -> list[Any]:
    """Those of a layer's variables, in the dtype that it computes in; None of none."""
    return [None if v is None else ops.convert_to_tensor(v) for v in variables]


def project(layer: Any, x: Tensor, count: int) -> list[Tensor]:
    """What the linear ``layer`` makes of x, in ``count`` equal parts: (..., C) -> (..., F / count).

    One matmul, except for OpenVINO, which copies the parts of its result: it takes the parts of
    the kernel, which is cut while it compiles (unless Keras has quantised it, with a scale aside).
    On PyTorch the bias is added within it, not in another pass over the result.
    """
    if platform() not in ("torch", "openvino") or layer.quantization_mode:
        return ops.split(layer(x), count, axis=-1)
    if platform() == "torch":
        from sfumato.networks.torch_kernels import linear

        kernel, bias = tensors(layer.kernel, layer.bias)
        return ops.split(linear(x, kernel, bias), count, axis=-1)
    parts = [ops.matmul(x, kernel) for kernel in ops.split(layer.kernel, count, axis=-1)]
    if layer.bias is None:
        return parts
    biases = ops.split(layer.bias, count)
    return [y + bias for y, bias in zip(parts, biases, strict=True)]


class Conv3x3(keras.layers.Conv2D):
    """A 3x3 convolution, channels last, padded before and after each axis by ``padding``."""

    def __init__(
        self, width_in: int, width: int, stride: int = 1, padding: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__(width, 3, stride, data_format="channels_last")
        self.built_for = (None, None, None, width_in)
        self.edges = ((0, 0), padding, padding, (0, 0))

    def call(self, x: Tensor) -> Tensor:
        if self.strides == (1, 1) and prefers_matmul(x):
            return convolve_3x3(x, self.kernel) + self.bias
        if platform() == "torch":
            return self.call_torch(x)
        if self.strides == (1, 1):
            return ops.conv(x, self.kernel, 1, "same", "channels_last") + self.bias
        # "same" would choose the edges by the size of the map.
        x = ops.pad(x, self.edges)
        return ops.conv(x, self.kernel, self.strides, "valid", "channels_last") + self.bias

    def call_torch(self, x: Tensor) -> Tensor:
        from sfumato.networks.torch_kernels import convolve

        kernel, bias = tensors(self.kernel, self.bias)
        before, after = self.edges[1]
        if before == after:
            return convolve(x, kernel, bias, self.strides[0], before)
        return convolve(ops.pad(x, self.edges), kernel, bias, self.strides[0], 0)


class GroupNorm(keras.layers.GroupNormalization):
    def call(self, x: Tensor) -> Tensor:
        if platform() == "openvino":
            from sfumato.networks.openvino_kernels import group_norm
        elif platform() == "torch":
            from sfumato.networks.torch_kernels import group_norm
        else:
            return super().call(x)
        gamma, beta = tensors(self.gamma, self.beta)
        return group_norm(x, gamma, beta, self.groups, self.epsilon)


class LayerNorm(keras.layers.LayerNormalization):
    def call(self, x: Tensor) -> Tensor:
        if platform() != "openvino":
            return super().call(x)
        from sfumato.networks.openvino_kernels import layer_norm

        return layer_norm(x, self.gamma, self.beta, self.epsilon)


def group_norm(width: int, groups: int, epsilon: float) -> Any:
    return known(GroupNorm(groups, -1, epsilon), None, None, None, width)


def layer_norm(width: int) -> Any:
    return known(LayerNorm(epsilon=1e-5), None, None, width)


def activate(norm: Any, x: Tensor, shift: Tensor | None = None) -> Tensor:
    """silu(norm(x + shift)): x (B, H, W, C), shift (B or 1, 1, 1, C)."""
    if fuses_norms():
        from sfumato.networks.pallas_kernels import group_norm_silu

        gamma, beta = (ops.convert_to_tensor(v) for v in (norm.gamma, norm.beta))
        offset = None if shift is None else shift[:, 0, 0]
        return group_norm_silu(x, gamma, beta, norm.groups, norm.epsilon, offset)
    return ops.silu(norm(x if shift is None else x + shift))


def repeated(x: Tensor, like: Tensor) -> Tensor:
    """x (B, ...) as often as ``like`` (n B, ...) has its batch: the questions about x are the same
    until they meet the text, so that much of a guided pair is computed once."""
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
        y = self.conv1(activate(self.norm1, x))  # (B, H, W, C)
        y = self.conv2(activate(self.norm2, y, shift))
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
        return self.to_out[0](merge_heads(attention(q, k, v)))


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
        return split_heads(self.to_k(context), self.heads), split_heads(
            self.to_v(context), self.heads
        )

    def call(self, x: Tensor, memories: list[Memory]) -> Tensor:
        """x (n B, T, C) or, with other texts for the same x, (B, T, C) -> (n B, T, C)."""
        q = split_heads(self.to_q(x), self.heads)  # (n B, T, N, D)
        y = attended(q, memories[0])
        for memory in memories[1:]:
            y = y + attended(q, memory)
        return self.to_out[0](merge_heads(y))


def attended(q: Tensor, memory: Memory) -> Tensor:
    """Attend to one memory, by its weight: q (B, T, N, D) -> (B, T, N, D)."""
    y = attention(q, memory.keys, memory.values)
    return y if memory.weight is None else y * ops.cast(memory.weight, y.dtype)


class GEGLU(Block):
    """A gated linear unit with the exact GELU (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, width: int, width_out: int) -> None:
        super().__init__()
        self.proj = linear(width, 2 * width_out)

    def call(self, x: Tensor) -> Tensor:
        x, gate = project(self.proj, x, 2)
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

    def call(
        self, x: Tensor, memories: list[Memory], merging: TokenMerging | None = None
    ) -> Tensor:
        attn1 = partial(merging, self.attn1) if merging else self.attn1
        x = repeated(x + attn1(self.norm1(x)), memories[0].keys)  # (B, T, C)
        x = x + self.attn2(self.norm2(x), memories)
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

    def call(
        self,
        x: Tensor,
        memories: list[list[Memory]],
        merging: TokenMerging | None = None,
    ) -> Tensor:
        _, H, W, C = x.shape
        merging = merging if merging and (merging.height, merging.width) == (H, W) else None
        y = ops.reshape(self.proj_in(self.norm(x)), (-1, H * W, C))  # (B, T, C)
        for block, of_block in zip(self.transformer_blocks, memories, strict=True):
            y = block(y, of_block, merging=merging)
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

    def call(self, x: Tensor, height: int | None = None, width: int | None = None) -> Tensor:
        """Twice the size by nearest neighbour, cut to that of the skip connection if it is odd."""
        _, H, W, _ = x.shape
        is_whole = None in (height, width) or (height, width) == (2 * H, 2 * W)
        if is_whole and prefers_differences(x):
            return convolve_enlarged(x, self.conv.kernel) + self.conv.bias
        x = enlarge(x)
        return self.conv(x if is_whole else x[:, :height, :width])


class TimestepEmbedding(Block):
    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.linear_1 = linear(width_in, width)
        self.linear_2 = linear(width, width)

    def call(self, x: Tensor) -> Tensor:
        return self.linear_2(ops.silu(self.linear_1(x)))


def timestep_embedding(timesteps: Tensor, width: int) -> Tensor:
    """Sinusoids of the timesteps: (B,) -> (B, width) float32, first cosines, then sines.

    Ho et al. 2020 (arXiv 2006.11239), after Vaswani et al. 2017.
    """
    half = width // 2
    frequencies = np.exp(-math.log(10000.0) / half * np.arange(half))
    angles = ops.cast(timesteps, "float32")[:, None] * ops.cast(frequencies, "float32")
    return ops.concatenate([ops.cos(angles), ops.sin(angles)], axis=-1)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, N * D) -> (B, T, N, D)"""
    _, T, C = x.shape
    return ops.reshape(x, (-1, T, heads, C // heads))


def merge_heads(x: Tensor) -> Tensor:
    """(B, T, N, D) -> (B, T, N * D)"""
    _, T, N, D = x.shape
    return ops.reshape(x, (-1, T, N * D))
