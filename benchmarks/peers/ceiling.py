"""What the device can do at most, as a framework's own large operations show: matmul and copy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

CALLS = 20  # in flight at a time on an accelerator
ROUNDS = 5


class Runner:
    def __init__(self, framework: str) -> None:
        self.make = {"jax": with_jax, "torch": with_torch, "openvino": with_openvino}[framework]

    def matmul(self, size: int, dtype: str) -> float:
        """Operations a second of a square matrix product of random numbers."""
        product, _, wait, calls = self.make(size, size, dtype)
        return 2 * size**3 / best(product, wait, calls)

    def copy(self, size: int) -> float:
        """Bytes a second, read and written, of a copy of ``size`` times 4096 numbers of float32."""
        _, copy, wait, calls = self.make(size, 4096, "float32")
        return 2 * 4 * size * 4096 / best(copy, wait, calls)


def with_jax(rows: int, columns: int, dtype: str) -> Any:
    import jax
    import jax.numpy as jnp

    a, b = (jax.random.normal(jax.random.key(i), (rows, columns)).astype(dtype) for i in range(2))
    product, negate = jax.jit(jnp.matmul), jax.jit(jnp.negative)
    calls = 1 if jax.default_backend() == "cpu" else CALLS
    return lambda: product(a, b), lambda: negate(a), jax.block_until_ready, calls


def with_torch(rows: int, columns: int, dtype: str) -> Any:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = getattr(torch, dtype)
    a, b = (torch.randn(rows, columns, device=device).to(kind) for _ in range(2))

    def wait(_: Any) -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    return lambda: a @ b, lambda: torch.neg(a), wait, CALLS if device == "cuda" else 1


def with_openvino(rows: int, columns: int, dtype: str) -> Any:
    """Of float32 only, by a constant matrix as in a network, and the product only."""
    import numpy as np
    import openvino as ov
    import openvino.opset16 as opset

    if dtype != "float32":
        raise ValueError(f"`dtype` must be 'float32'. Received: dtype={dtype!r}")
    a, b = (np.random.default_rng(i).standard_normal((rows, columns), "float32") for i in range(2))
    x = opset.parameter(a.shape, ov.Type.f32)
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    model = ov.Model([opset.matmul(x, opset.constant(b), False, True)], [x])
    run = ov.Core().compile_model(model, "CPU", settings)
    return lambda: run([a]), None, lambda _: None, 1


def best(function: Callable[[], Any], wait: Callable[[Any], Any], calls: int) -> float:
    """The fewest seconds of a call, of some rounds after one that is not timed."""
    wait(function())
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(calls):
            result = function()
        wait(result)
        seconds.append((time.perf_counter() - start) / calls)
    return min(seconds)
