"""Kernels for JAX: XLA's, and cuDNN's attention where it fits."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import jax
import keras
import numpy as np
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
    if platform() != "gpu" or not fits_cudnn(q):
        return xla.attention(q, k, v, causal, on_cpu=platform() == "cpu")
    is_even = q.shape[1] % 2 == k.shape[1] % 2 == 0
    return fused(q, k, v, causal) if is_even else odd(q, k, v, causal)


def fused(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """cuDNN's attention."""
    return ops.dot_product_attention(q, k, v, is_causal=causal, flash_attention=True)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def odd(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """cuDNN's attention to an odd number of tokens, such as the 77 of a text. It has no gradient
    there, so that a training computes it by XLA."""
    return fused(q, k, v, causal)


def odd_forward(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> tuple[Tensor, Any]:
    return jax.vjp(partial(xla.attention, causal=causal, on_cpu=False), q, k, v)


def odd_backward(causal: bool, pull: Any, gradient: Tensor) -> tuple[Tensor, ...]:
    return pull(gradient)


odd.defvjp(odd_forward, odd_backward)


def fits_cudnn(q: Tensor) -> bool:
    """The limits of cuDNN's fused attention: half precision, head width, compute capability."""
    width = q.shape[-1]
    return (
        keras.backend.standardize_dtype(q.dtype) in ("float16", "bfloat16")
        and capability() >= 8.0
        and width % 8 == 0
        and width <= (256 if capability() >= 9.0 else 128)
    )


def conv3x3(*args: Any) -> Tensor:
    return xla.conv3x3(*args, on_cpu=platform() == "cpu")


def conv3x3_enlarged(*args: Any) -> Tensor:
    return xla.conv3x3_enlarged(*args, on_cpu=platform() == "cpu")


def read(variable: Any) -> np.ndarray:
    """Without the copy that Keras makes."""
    return np.asarray(variable.value)
