"""Single layers against PyTorch's in float64, on any backend that computes them its own way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from keras import ops

from sfumato.kernels import store
from sfumato.networks.layers import Conv3x3, group_norm, linear, project

pytestmark = pytest.mark.backend("jax", "tensorflow", "torch")


def built(layer: Any) -> Any:
    layer.build(layer.built_for)
    random = np.random.default_rng(1)
    for variable in layer.variables:
        value = random.standard_normal(variable.shape) / np.sqrt(np.prod(variable.shape[:-1]))
        store(variable, value.astype("float32"))
    return layer


def random(*shape: int, mean: float = 0.0) -> np.ndarray:
    return (mean + np.random.default_rng(2).standard_normal(shape)).astype("float32")


def judge(x: Any, *axes: int) -> torch.Tensor:
    return torch.from_numpy(ops.convert_to_numpy(x).astype("float64")).permute(axes)


def error(found: Any, expected: torch.Tensor) -> float:
    exact = expected.permute(0, 2, 3, 1).numpy()
    return float(np.abs(ops.convert_to_numpy(found) - exact).max() / np.abs(exact).max())


@pytest.mark.parametrize(
    ("size", "channels"), [((7, 10), 16), ((8, 8), 512), ((16, 16), 512), ((24, 20), 64)], ids=str
)
@pytest.mark.parametrize(("stride", "padding"), [(1, (1, 1)), (2, (1, 1)), (2, (0, 1))], ids=str)
def test_convolution(
    size: tuple[int, int], channels: int, stride: int, padding: tuple[int, int]
) -> None:
    layer = built(Conv3x3(channels, 24, stride, padding))
    x = random(2, *size, channels)
    edges = torch.nn.functional.pad(judge(x, 0, 3, 1, 2), 2 * padding)
    kernel, bias = judge(layer.kernel, 3, 2, 0, 1), judge(layer.bias, 0)
    expected = torch.nn.functional.conv2d(edges, kernel, bias, stride)
    assert error(layer(x), expected) < 2e-6


@pytest.mark.parametrize("mean", [0.0, 10.0])
@pytest.mark.parametrize(("channels", "groups"), [(32, 8), (96, 32)])
def test_group_norm(channels: int, groups: int, mean: float) -> None:
    layer = built(group_norm(channels, groups, 1e-6))
    x = random(2, 9, 6, channels, mean=mean)
    weights = judge(layer.gamma, 0), judge(layer.beta, 0)
    expected = torch.nn.functional.group_norm(judge(x, 0, 3, 1, 2), groups, *weights, eps=1e-6)
    assert error(layer(x), expected) < 2e-6 * (1 + mean)


@pytest.mark.parametrize("bias", [True, False])
def test_parts_of_a_projection(bias: bool) -> None:
    layer = built(linear(24, 3 * 16, bias))
    x = random(2, 5, 24)
    expected = x @ ops.convert_to_numpy(layer.kernel)
    expected = expected + ops.convert_to_numpy(layer.bias) if bias else expected
    parts = [ops.convert_to_numpy(y) for y in project(layer, ops.convert_to_tensor(x), 3)]
    assert [y.shape for y in parts] == [(2, 5, 16)] * 3
    assert np.abs(np.concatenate(parts, -1) - expected).max() < 1e-5
