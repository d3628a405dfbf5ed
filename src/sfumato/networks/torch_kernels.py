"""Layers in the form that PyTorch is fastest with.

Keras copies a map to channels first and back around every convolution, adds biases in a pass of
their own and normalises in several. PyTorch reads maps with their channels last where they lie.
"""

from __future__ import annotations

import torch
from torch.nn import functional

Tensor = torch.Tensor


def convolve(x: Tensor, kernel: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    """x (B, H, W, C), kernel (h, w, C, F) and bias (F,) -> (B, H', W', F)."""
    y = functional.conv2d(first(x), kernel.permute(3, 2, 0, 1), bias, stride, padding)
    return y.permute(0, 2, 3, 1)


def linear(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """x (..., C), kernel (C, F) and bias (F,) -> (..., F)."""
    return functional.linear(x, kernel.T, bias)


def group_norm(x: Tensor, gamma: Tensor, beta: Tensor, groups: int, epsilon: float) -> Tensor:
    """x (B, H, W, C), gamma and beta (C,) -> (B, H, W, C) (Wu & He 2018, arXiv 1803.08494)."""
    return functional.group_norm(first(x), groups, gamma, beta, epsilon).permute(0, 2, 3, 1)


def first(x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, C, H, W), the same memory."""
    return x.permute(0, 3, 1, 2)
