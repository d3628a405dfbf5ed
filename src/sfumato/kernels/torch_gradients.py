"""Kernels for PyTorch whose gradients are wanted on a CPU, where those of its own are slow."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

Tensor = torch.Tensor

SCORES = 2**26  # of attention, up to which they are kept for the gradients
LARGE = 4096  # positions of a map, from which on the norm's gradients are faster here
SMALL = 1024  # positions up to which PyTorch's norm is faster with channels first
ROW = 256  # channels of neighbours that are computed as one row


def are_wanted(*tensors: Tensor) -> bool:
    """Whether a CPU has to keep what gradients need."""
    return (
        torch.is_grad_enabled()
        and tensors[0].device.type == "cpu"
        and any(x.requires_grad for x in tensors)
    )


def attends_plainly(q: Tensor, k: Tensor) -> bool:
    """Whether attention is faster by its formula: the fused one has slow gradients in bfloat16."""
    B, T, N, _ = q.shape
    return q.dtype == torch.bfloat16 and B * N * T * k.shape[1] <= SCORES


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # (B, N, T, D)
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(2, 3))  # (B, N, T, S)
    if causal:
        hidden = torch.ones(scores.shape[2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(hidden, -torch.inf)
    return torch.matmul(scores.softmax(-1), v).transpose(1, 2)


def total(x: Tensor) -> Tensor:
    """The sum over the rows of x (B, n, C), float32: a few rows at a time in the precision of x,
    which would be copied as a whole to be summed in another."""
    few = math.gcd(x.shape[1], 64)
    return x.unflatten(1, (-1, few)).sum(2).sum(1, dtype=torch.float32)


def group_norm(x: Tensor, gamma: Tensor, beta: Tensor, groups: int, epsilon: float) -> Tensor:
    size = x.shape[1] * x.shape[2]
    if size >= LARGE:
        return GroupNorm.apply(x, gamma, beta, groups, epsilon)
    x = x.permute(0, 3, 1, 2)
    x = x.contiguous() if size < SMALL else x
    return functional.group_norm(x, groups, gamma, beta, epsilon).permute(0, 2, 3, 1).contiguous()


class GroupNorm(torch.autograd.Function):
    """The group norm of x (B, H, W, C), with gradients by sums over the map as it lies."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, groups: int, epsilon: float
    ) -> Tensor:
        B, H, W, C = x.shape
        wide = torch.promote_types(x.dtype, torch.float32)  # of the statistics, too
        y, mean, rstd = torch.native_group_norm(
            x.permute(0, 3, 1, 2), gamma.to(wide), beta.to(wide), B, C, H * W, groups, epsilon
        )
        ctx.save_for_backward(x, gamma, mean, rstd)
        return y.permute(0, 2, 3, 1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, gamma, mean, rstd = ctx.saved_tensors
        (B, H, W, C), groups = x.shape, mean.shape[1]
        r = max(1, ROW // C)
        r = r if H * W % r == 0 else 1
        x, dy = (t.reshape(B, H * W // r, r * C) for t in (x, gradients[0]))
        sum_dy, sum_xdy = (total(t).view(B, r, C).sum(1) for t in (dy, x * dy))  # (B, C)
        m, q = (t.repeat_interleave(C // groups, 1) for t in (mean, rstd))  # (B, C)
        d_gamma, d_beta = (q * (sum_xdy - m * sum_dy)).sum(0), sum_dy.sum(0)
        of_group, of_group_x = (
            (gamma * t).view(B, groups, -1).mean(2).repeat_interleave(C // groups, 1) / (H * W)
            for t in (sum_dy, sum_xdy)
        )
        by_dy, by_x = q * gamma, (of_group * m - of_group_x) * q**3
        shift = -by_x * m - of_group * q
        by_dy, by_x, shift = (
            t.to(x.dtype).repeat(1, r)[:, None] for t in (by_dy, by_x, shift)
        )  # (B, 1, r C)
        dx = torch.addcmul(shift, x, by_x).addcmul_(dy, by_dy).view(B, H, W, C)
        return dx, d_gamma.to(gamma.dtype), d_beta.to(gamma.dtype), None, None
