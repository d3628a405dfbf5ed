"""Exact attention and 3x3 convolution, in the form that each backend computes fastest."""

from __future__ import annotations

import math
import os
from functools import lru_cache
from typing import Any

import keras
from keras import ops

Tensor = Any

SCORES = 2 << 20  # elements of a block of attention scores: what stays near the CPU's caches
SCORES_ELSEWHERE = 64 << 20  # where only the memory counts


@lru_cache
def platform() -> str:
    """ "cpu", "gpu" or "tpu" under JAX, "cpu" also under TensorFlow where it has nothing else;
    otherwise the name of the Keras backend."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.default_backend()
    if backend == "tensorflow":
        import tensorflow as tf

        kinds = {device.device_type for device in tf.config.list_physical_devices()}
        return "cpu" if kinds == {"CPU"} else backend
    return backend


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    """Exact softmax attention: q (B, T, N, D), k and v (B, S, N, D) -> (B, T, N, D).

    XLA:CPU runs stock attention five times slower than attention in blocks, because the scores
    (B, N, T, S) leave the caches; elsewhere the fused kernels are used where they fit.
    """
    if platform() in ("torch", "openvino"):
        return ops.dot_product_attention(q, k, v, is_causal=causal)
    if platform() == "gpu" and fits_cudnn(q):
        return ops.dot_product_attention(q, k, v, is_causal=causal, flash_attention=True)
    B, T, N, D = q.shape
    S = k.shape[1]
    if S == 1:  # one key takes all the weight, and Keras warns of a softmax over it
        return v + ops.zeros_like(q)
    q = q * (1 / math.sqrt(D))
    k = ops.transpose(k, (0, 2, 3, 1))  # (B, N, D, S): turned once, not in every block
    v = ops.transpose(v, (0, 2, 1, 3))  # (B, N, S, D)
    blocks = 1 if causal else count_blocks(T, (B or 1) * N * S)
    if blocks == 1:
        x = attend(ops.transpose(q, (0, 2, 1, 3)), k, v, causal)
        return ops.transpose(x, (0, 2, 1, 3))
    if platform() == "cpu":
        x = attend_by_heads(ops.transpose(q, (0, 2, 1, 3)), k, v)
        return ops.transpose(x, (0, 2, 1, 3))
    q = split_rows(ops.transpose(q, (0, 2, 1, 3)), blocks)
    x = ops.map(lambda block: attend(block, k, v), ops.transpose(q, (2, 0, 1, 3, 4)))
    x = join_rows(ops.transpose(x, (1, 2, 0, 3, 4)), T)
    return ops.transpose(x, (0, 2, 1, 3))


def attend_by_heads(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``attend``, one head after the other, in blocks of many queries: XLA:CPU's matmul puts the
    keys in order at every call, which pays for many rows only."""
    N, T = q.shape[1:3]
    q = split_rows(q, count_blocks(T, v.shape[2]))
    heads = [ops.reshape(x, (-1, *x.shape[2:])) for x in (q, k, v)]  # (B * N, ...)
    x = ops.map(lambda x: ops.map(lambda block: attend(block, x[1], x[2]), x[0]), heads)
    return join_rows(ops.reshape(x, (-1, N, *x.shape[1:])), T)


def split_rows(q: Tensor, blocks: int) -> Tensor:
    """q (B, N, T, D) -> (B, N, blocks, R, D), filled up with zeros to as many rows in each."""
    N, T, D = q.shape[1:]
    rows = math.ceil(T / blocks)
    if blocks * rows > T:
        q = ops.pad(q, ((0, 0), (0, 0), (0, blocks * rows - T), (0, 0)))
    return ops.reshape(q, (-1, N, blocks, rows, D))


def join_rows(x: Tensor, T: int) -> Tensor:
    """x (B, N, blocks, R, D) -> (B, N, T, D)."""
    N, _, _, D = x.shape[1:]
    return ops.reshape(x, (-1, N, x.shape[2] * x.shape[3], D))[:, :, :T]


def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    """q (..., T, D), scaled, k (..., D, S) and v (..., S, D) -> (..., T, D)."""
    scores = ops.cast(ops.matmul(q, k), "float32")
    if causal:
        scores = ops.where(ops.tri(q.shape[-2], dtype="bool"), scores, -1e9)
    if keras.backend.standardize_dtype(v.dtype) == "float16":  # in which sums could overflow
        return ops.matmul(ops.cast(ops.softmax(scores), v.dtype), v)
    weights = ops.exp(scores - ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True)))
    # Divided by their sum last, because there are fewer results than weights.
    x = ops.matmul(ops.cast(weights, v.dtype), v)
    return x / ops.cast(ops.sum(weights, axis=-1, keepdims=True), v.dtype)


def count_blocks(tokens: int, scores_per_token: int) -> int:
    """Into how many blocks of queries attention is cut to keep a block's scores within bounds."""
    most = SCORES if platform() == "cpu" else SCORES_ELSEWHERE
    rows = min(tokens, max(1, most // scores_per_token))
    return math.ceil(tokens / rows)


def fits_cudnn(q: Tensor) -> bool:
    """The limits of cuDNN's fused attention: half precision, head width, compute capability."""
    width = q.shape[-1]
    return (
        keras.backend.standardize_dtype(q.dtype) in ("float16", "bfloat16")
        and capability() >= 8.0
        and width % 8 == 0
        and width <= (256 if capability() >= 9.0 else 128)
    )


@lru_cache
def capability() -> float:
    """The compute capability of an NVIDIA GPU under JAX; 0 for other devices."""
    import jax

    return float(getattr(jax.devices()[0], "compute_capability", "0"))


def fuses_norms() -> bool:
    """Whether ``pallas_kernels`` replaces norms with SiLU: on a GPU, where it is switched on.

    Off until it has been measured; ``SFUMATO_FUSED_NORMS=1`` is for ``benchmarks gpu``.
    """
    return os.environ.get("SFUMATO_FUSED_NORMS") == "1" and platform() == "gpu"


def on_cpu(x: Tensor) -> bool:
    """Whether x is computed with on a CPU, by XLA, TensorFlow or PyTorch."""
    return x.device.type == "cpu" if platform() == "torch" else platform() == "cpu"


def prefers_matmul(x: Tensor) -> bool:
    """Whether a 3x3 convolution of stride 1 is faster as one matmul: small deep maps on a CPU."""
    _, H, W, C = x.shape
    most = 64 if platform() == "torch" else 256
    return on_cpu(x) and bool(H and W and most >= H * W) and C >= 512


def convolve_3x3(x: Tensor, kernel: Tensor) -> Tensor:
    """The 3x3 "same" convolution of x (B, H, W, C) with (3, 3, C, F) as im2col and one matmul."""
    H, W, C = x.shape[1:]
    x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    patches = [x[:, i : i + H, j : j + W] for i in range(3) for j in range(3)]
    return ops.matmul(ops.concatenate(patches, -1), ops.reshape(kernel, (9 * C, -1)))


def enlarge(x: Tensor) -> Tensor:
    """x (B, H, W, C) twice as large by nearest neighbour."""
    if platform() == "openvino":
        from sfumato.networks.openvino_kernels import enlarge

        return enlarge(x)
    return ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)


def prefers_differences(x: Tensor) -> bool:
    """Whether ``convolve_enlarged`` is faster: in float32 on a CPU (OpenVINO does the same by
    itself), for maps large enough to earn back that XLA compiles its products longer."""
    _, H, W, C = x.shape
    is_large = bool(H and W and H * W * C > 2**16)
    return on_cpu(x) and is_large and keras.backend.standardize_dtype(x.dtype) == "float32"


def convolve_enlarged(x: Tensor, kernel: Tensor) -> Tensor:
    """The 3x3 "same" convolution with (3, 3, C, F) of x (B, H, W, C) enlarged twice by nearest
    neighbour, in a quarter of the products: (B, 2H, 2W, F).

    Along an axis with the taps a, b, c, a pixel x between p and q becomes a p + (b + c) x, which is
    (a + b + c) x - a (x - p), and (a + b) x + c q, which is (a + b + c) x + c (q - x).
    """
    H, W, F = *x.shape[1:3], kernel.shape[-1]
    x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    p = [
        [ops.matmul(part, taps) for part, taps in zip(differences(rows, 2), sums(row), strict=True)]
        for rows, row in zip(differences(x, 1), sums(kernel), strict=True)
    ]
    parts = [[p[0][0] + p[0][j] + p[i][0] + p[i][j] for j in (1, 2)] for i in (1, 2)]
    y = ops.stack([ops.stack(row, axis=3) for row in parts], axis=2)  # (B, H, 2, W, 2, F)
    return ops.reshape(y, (-1, 2 * H, 2 * W, F))


def differences(x: Tensor, axis: int) -> list[Tensor]:
    """What lies between the edges of an axis, and its differences to what is before and behind."""
    n, rest = x.shape[axis] - 2, (slice(None),) * axis
    before, on, behind = (x[(*rest, slice(i, i + n))] for i in range(3))
    return [on, on - before, behind - on]


def sums(taps: Tensor) -> list[Tensor]:
    """What ``differences`` are multiplied with: of taps (3, ...)."""
    return [taps[0] + taps[1] + taps[2], -taps[0], taps[2]]
