"""Attention goes to cuDNN where cuDNN computes it, and has a gradient everywhere."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfumato.kernels import jax as kernels
from sfumato.kernels import xla


@pytest.mark.parametrize(
    ("width", "dtype", "capability", "fits"),
    [
        (40, "bfloat16", 9.0, True),
        (40, "float16", 8.0, True),
        (160, "float16", 9.0, True),
        (160, "float16", 8.6, False),
        (40, "float16", 7.5, False),
        (40, "float32", 9.0, False),
        (36, "float16", 9.0, False),
    ],
)
def test_what_fits_cudnn(
    monkeypatch: pytest.MonkeyPatch, width: int, dtype: str, capability: float, fits: bool
) -> None:
    monkeypatch.setattr(kernels, "capability", lambda: capability)
    assert kernels.fits_cudnn(jax.ShapeDtypeStruct((2, 64, 8, width), jnp.dtype(dtype))) == fits


@pytest.mark.parametrize(
    ("queries", "keys", "causal"),
    [(16, 77, False), (15, 15, False), (15, 15, True), (16, 16, False), (16, 16, True)],
)
def test_an_odd_number_of_tokens_has_a_gradient(
    monkeypatch: pytest.MonkeyPatch, queries: int, keys: int, causal: bool
) -> None:
    """cuDNN, played by a function that refuses what cuDNN refuses, is asked where it answers."""
    asked = []

    @jax.custom_vjp
    def cudnn(q: Any, k: Any, v: Any) -> Any:
        asked.append((q.shape[1], k.shape[1]))
        return xla.attention(q, k, v, causal, on_cpu=False)

    def forward(q: Any, k: Any, v: Any) -> Any:
        if q.shape[1] % 2 or k.shape[1] % 2:
            raise NotImplementedError(f"Unsupported sequence length Q {q.shape}, KV {k.shape}")
        return jax.vjp(lambda *x: xla.attention(*x, causal, on_cpu=False), q, k, v)

    cudnn.defvjp(forward, lambda pull, gradient: pull(gradient))
    monkeypatch.setattr(kernels, "fused", lambda q, k, v, causal: cudnn(q, k, v))
    monkeypatch.setattr(kernels, "platform", lambda: "gpu")
    monkeypatch.setattr(kernels, "fits_cudnn", lambda q: True)

    random = np.random.default_rng(0)
    q = random.standard_normal((2, queries, 2, 8), "float32")
    k, v = random.standard_normal((2, 2, keys, 2, 8), "float32")
    kernels.attention(q, k, v, causal)
    assert asked == [(queries, keys)]  # without a gradient it is always cuDNN

    def loss(attention: Any, *x: Any) -> Any:
        return jnp.sum(jnp.sin(attention(*x, causal)))

    found = jax.grad(loss, (1, 2, 3))(kernels.attention, q, k, v)
    plain = jax.grad(loss, (1, 2, 3))(lambda *x: xla.attention(*x, on_cpu=False), q, k, v)
    for a, b in zip(found, plain, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
