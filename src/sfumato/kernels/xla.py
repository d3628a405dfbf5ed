"""Kernels for XLA, by JAX or TensorFlow, on a CPU and elsewhere.

XLA:CPU runs stock attention five times slower than attention in blocks, because the scores
(B, N, T, S) leave the caches.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from sfumato.kernels import common

Tensor = Any

SCORES = 2 << 20  # elements of a block of attention scores: what stays near the CPU's caches
SCORES_ELSEWHERE = 64 << 20  # where only the memory counts
MATMUL = 256  # positions of a map up to which a 3x3 convolution is a matmul on a CPU


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool, on_cpu: bool) -> Tensor:
    """q (B, T, N, D), k and v (B, S, N, D) -> (B, T, N, D), in blocks of queries."""
    B, T, N, D = q.shape
    S = k.shape[1]
    if S == 1:  # one key takes all the weight, and Keras warns of a softmax over it
        return v + ops.zeros_like(q)
    q = q * (1 / math.sqrt(D))
    k = ops.transpose(k, (0, 2, 3, 1))  # (B, N, D, S): turned once, not in every block
    v = ops.transpose(v, (0, 2, 1, 3))  # (B, N, S, D)
    blocks = 1 if causal else count_blocks(T, (B or 1) * N * S, on_cpu)

    if blocks == 1:
        x = attend(ops.transpose(q, (0, 2, 1, 3)), k, v, causal)  # (B, N, T, D)
        return ops.transpose(x, (0, 2, 1, 3))

    if on_cpu:
        x = attend_by_heads(ops.transpose(q, (0, 2, 1, 3)), k, v)  # (B, N, T, D)
        return ops.transpose(x, (0, 2, 1, 3))

    q = into_blocks(ops.transpose(q, (0, 2, 1, 3)), blocks)  # (B, N, blocks, R, D)
    x = ops.map(lambda block: attend(block, k, v), ops.transpose(q, (2, 0, 1, 3, 4)))
    x = from_blocks(ops.transpose(x, (1, 2, 0, 3, 4)), T)  # (B, N, T, D)
    return ops.transpose(x, (0, 2, 1, 3))


def attend_by_heads(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``attend``, one head after the other, in blocks of many queries: XLA:CPU's matmul puts the
    keys in order at every call, which pays for many queries only."""
    N, T = q.shape[1:3]
    q = into_blocks(q, count_blocks(T, v.shape[2], on_cpu=True))  # (B, N, blocks, R, D)
    heads = [ops.reshape(x, (-1, *x.shape[2:])) for x in (q, k, v)]  # (B * N, ...)
    x = ops.map(lambda x: ops.map(lambda block: attend(block, x[1], x[2]), x[0]), heads)
    return from_blocks(ops.reshape(x, (-1, N, *x.shape[1:])), T)


def into_blocks(q: Tensor, blocks: int) -> Tensor:
    """q (B, N, T, D) -> (B, N, blocks, R, D), filled up with zeros to as many queries in each."""
    N, T, D = q.shape[1:]
    R = math.ceil(T / blocks)
    if blocks * R > T:
        q = ops.pad(q, ((0, 0), (0, 0), (0, blocks * R - T), (0, 0)))
    return ops.reshape(q, (-1, N, blocks, R, D))


def from_blocks(x: Tensor, T: int) -> Tensor:
    """x (B, N, blocks, R, D) -> (B, N, T, D)."""
    N, _, _, D = x.shape[1:]
    return ops.reshape(x, (-1, N, x.shape[2] * x.shape[3], D))[:, :, :T]


def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    """q (..., T, D), scaled, k (..., D, S) and v (..., S, D) -> (..., T, D)."""
    scores = ops.cast(ops.matmul(q, k), "float32")  # (..., T, S)
    if causal:
        scores = ops.where(ops.tri(q.shape[-2], dtype="bool"), scores, -1e9)
    if keras.backend.standardize_dtype(v.dtype) == "float16":  # in which sums could overflow
        return ops.matmul(ops.cast(ops.softmax(scores), v.dtype), v)
    weights = ops.exp(scores - ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True)))
    # Divided by their sum last, because there are fewer results than weights.
    x = ops.matmul(ops.cast(weights, v.dtype), v)
    return x / ops.cast(ops.sum(weights, axis=-1, keepdims=True), v.dtype)


def count_blocks(tokens: int, scores_per_token: int, on_cpu: bool) -> int:
    """The blocks of queries into which attention is cut to keep a block's scores within bounds."""
    most = SCORES if on_cpu else SCORES_ELSEWHERE
    queries = min(tokens, max(1, most // scores_per_token))
    return math.ceil(tokens / queries)


def conv3x3(
    x: Tensor, kernel: Tensor, bias: Tensor, stride: int, padding: tuple[int, int], on_cpu: bool
) -> Tensor:
    if stride == 1 and on_cpu and common.is_small_and_deep(x, MATMUL):
        return common.conv3x3_by_matmul(x, kernel) + bias
    return common.conv3x3(x, kernel, bias, stride, padding)


def conv3x3_enlarged(
    x: Tensor, kernel: Tensor, bias: Tensor, height: int | None, width: int | None, on_cpu: bool
) -> Tensor:
    if on_cpu and common.is_whole(x, height, width) and common.differences_pay(x):
        return common.conv3x3_by_differences(x, kernel) + bias
    return conv3x3(common.enlarged(x, height, width), kernel, bias, 1, (1, 1), on_cpu)
