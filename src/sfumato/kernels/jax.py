"""Kernels for JAX: XLA's, and cuDNN's attention where it fits."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import keras
from keras import ops

from sfumato.kernels import xla

Tensor = Any


@lru_cache
def platform() -> str:
    """ "cpu", "gpu" or "tpu"."""
    return jax.default_backend()


@lru_cache
def capability() -> float:
    """The compute capability of an NVIDIA GPU; 0 for other devices."""
    return float(getattr(jax.devices()[0], "compute_capability", "0"))


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    if platform() == "gpu" and fits_cudnn(q, k):
        return ops.dot_product_attention(q, k, v, is_causal=causal, flash_attention=True)
    return xla.attention(q, k, v, causal, on_cpu=platform() == "cpu")


def fits_cudnn(q: Tensor, k: Tensor) -> bool:
    """The limits of cuDNN's fused attention: half precision, head width, compute capability, and
    even numbers of queries and keys, without which it has no gradient. The 77 tokens of a text are
    few enough for XLA."""
    width = q.shape[-1]
    return (
        keras.backend.standardize_dtype(q.dtype) in ("float16", "bfloat16")
        and capability() >= 8.0
        and q.shape[1] % 2 == k.shape[1] % 2 == 0
        and width % 8 == 0
        and width <= (256 if capability() >= 9.0 else 128)
    )


def conv3x3(*args: Any) -> Tensor:
    return xla.conv3x3(*args, on_cpu=platform() == "cpu")


def conv3x3_enlarged(*args: Any) -> Tensor:
    return xla.conv3x3_enlarged(*args, on_cpu=platform() == "cpu")
