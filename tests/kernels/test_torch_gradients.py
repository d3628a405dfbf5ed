"""PyTorch's kernels for training on a CPU: results and gradients as by their definitions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch.nn import functional

from sfumato import kernels
from sfumato.kernels import torch_gradients

pytestmark = pytest.mark.backend("torch")
ROUNDING = {torch.float32: 1e-6, torch.bfloat16: 1e-2}


def compare(one: Callable, other: Callable, given: list[torch.Tensor], rounding: float) -> None:
    """Both functions' results and gradients, the other's in float64."""
    exact = [x.detach().double().requires_grad_() for x in given]
    found, wanted = one(*given), other(*exact)
    direction = torch.randn(wanted.shape, dtype=torch.float64)
    gradients = torch.autograd.grad((found.double() * direction).sum(), given)
    truth = torch.autograd.grad((wanted * direction).sum(), exact)
    for a, b in zip((found, *gradients), (wanted, *truth), strict=True):
        assert (a.double() - b).norm() < rounding * b.norm()


def random(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return (2 * torch.randn(shape) + 0.7).to(dtype).requires_grad_()


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("shape", [(3, 4, 48), (64, 64, 16), (65, 67, 48), (64, 64, 272)], ids=str)
def test_group_norm(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Of small and of large maps, whose rows go into one another and do not."""
    torch.manual_seed(0)
    given = [random(2, *shape, dtype=dtype), *(random(shape[-1], dtype=dtype) for _ in range(2))]

    def plainly(x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        y = functional.group_norm(x.permute(0, 3, 1, 2), 4, gamma, beta, 1e-5)
        return y.permute(0, 2, 3, 1)

    compare(partial(kernels.group_norm, groups=4, epsilon=1e-5), plainly, given, ROUNDING[dtype])


@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal: bool) -> None:
    torch.manual_seed(0)
    sizes = (9, 9, 9) if causal else (9, 13, 13)
    given = [random(2, n, 3, 8, dtype=torch.bfloat16) for n in sizes]

    def plainly(*qkv: torch.Tensor) -> torch.Tensor:
        q, k, v = (x.transpose(1, 2) for x in qkv)
        return functional.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)

    compare(partial(kernels.attention, causal=causal), plainly, given, 2e-2)


@pytest.mark.parametrize("trained", [False, True])
def test_they_serve_gradients_alone(trained: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture is drawn by PyTorch's own kernels."""
    called = []
    monkeypatch.setattr(torch_gradients, "group_norm", lambda *_: called.append("group_norm"))
    monkeypatch.setattr(torch_gradients, "attention", lambda *_: called.append("attention"))
    x = random(1, 8, 8, 8, dtype=torch.bfloat16)
    with torch.set_grad_enabled(trained):
        kernels.group_norm(x, x[0, 0, 0], x[0, 0, 0], 4, 1e-5)
        kernels.attention(x, x, x)
    assert called == (["group_norm", "attention"] if trained else [])
