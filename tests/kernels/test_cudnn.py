"""Attention goes to cuDNN where cuDNN computes it, and its gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from sfumato.kernels import jax as kernels


@pytest.mark.parametrize(
    ("queries", "keys", "width", "dtype", "capability", "fits"),
    [
        (4096, 4096, 40, "bfloat16", 9.0, True),
        (4096, 4096, 40, "float16", 8.0, True),
        (4096, 4096, 160, "float16", 9.0, True),
        (4096, 4096, 160, "float16", 8.6, False),
        (4096, 4096, 40, "float16", 7.5, False),
        (4096, 4096, 40, "float32", 9.0, False),
        (4096, 4096, 36, "float16", 9.0, False),
        (4096, 77, 40, "bfloat16", 9.0, False),  # its gradient takes no odd number
        (81, 81, 40, "bfloat16", 9.0, False),
    ],
)
def test_what_fits_cudnn(
    monkeypatch: pytest.MonkeyPatch,
    queries: int,
    keys: int,
    width: int,
    dtype: str,
    capability: float,
    fits: bool,
) -> None:
    monkeypatch.setattr(kernels, "capability", lambda: capability)
    q, k = (jax.ShapeDtypeStruct((2, T, 8, width), jnp.dtype(dtype)) for T in (queries, keys))
    assert kernels.fits_cudnn(q, k) == fits
