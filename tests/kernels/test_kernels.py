"""Attention and convolutions in other forms, against their plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from keras import ops

from sfumato import kernels
from sfumato.kernels import common, xla
from sfumato.networks.layers import Upsample

pytestmark = pytest.mark.backend("jax", "tensorflow", "torch")


def plain(q: np.ndarray, k: np.ndarray, v: np.ndarray, causal: bool = False) -> np.ndarray:
    scores = np.einsum("btnd,bsnd->bnts", q, k) / np.sqrt(q.shape[-1])
    if causal:
        scores = np.where(np.tri(q.shape[1], dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bnts,bsnd->btnd", weights / weights.sum(-1, keepdims=True), v)


@pytest.mark.parametrize("tokens", [(1, 1), (7, 5), (60, 60), (61, 61), (64, 77)], ids=str)
@pytest.mark.parametrize("limit", [1 << 20, 1500, 1])
def test_attention_in_blocks_is_exact(
    tokens: tuple[int, int], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xla, "SCORES", limit)
    T, S = tokens
    random = np.random.default_rng(0)
    q, k, v = (3 * random.standard_normal((2, n, 3, 8)) for n in (T, S, S))
    got = kernels.attention(*(ops.cast(x, "float32") for x in (q, k, v)))
    got = ops.convert_to_numpy(got)
    assert np.abs(got - plain(q, k, v)).max() < 5e-5


def test_causal_attention() -> None:
    random = np.random.default_rng(0)
    q, k, v = (random.standard_normal((2, 9, 3, 8)) for _ in range(3))
    got = kernels.attention(*(ops.cast(x, "float32") for x in (q, k, v)), causal=True)
    got = ops.convert_to_numpy(got)
    assert np.abs(got - plain(q, k, v, causal=True)).max() < 1e-5


@pytest.mark.parametrize("tokens", [1, 12, 4096, 97 * 101])
def test_blocks_fit_and_are_few(tokens: int) -> None:
    blocks = xla.count_blocks(tokens, 16 * tokens, on_cpu=True)
    rows = -(-tokens // blocks)
    assert rows == 1 or rows * 16 * tokens <= xla.SCORES
    assert blocks == 1 or (rows + 1) * 16 * tokens > xla.SCORES / 2


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (8, 8)], ids=str)
def test_convolution_as_a_matmul(size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((2, *size, 4)).astype("float32")
    kernel = random.standard_normal((3, 3, 4, 6)).astype("float32")
    expected = ops.convert_to_numpy(ops.conv(x, kernel, padding="same"))
    found = ops.convert_to_numpy(common.conv3x3_by_matmul(x, kernel))
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("cut", [{}, {"height": 32, "width": 36}, {"height": 31, "width": 36}])
def test_upsampling(cut: dict[str, int]) -> None:
    """To the size of a skip connection, which may be one less than twice the map's."""
    random = np.random.default_rng(0)
    x = random.standard_normal((2, 16, 18, 256)).astype("float32")
    kernel = random.standard_normal((3, 3, 256, 256)).astype("float32") / 48
    layer = Upsample(256)
    layer.build()
    layer.conv.kernel.assign(kernel)
    enlarged = x.repeat(2, axis=1).repeat(2, axis=2)[:, : cut.get("height"), : cut.get("width")]
    exact = (torch.from_numpy(v.astype("float64")) for v in (enlarged, kernel))
    map, taps = (
        v.permute(axes) for v, axes in zip(exact, ((0, 3, 1, 2), (3, 2, 0, 1)), strict=True)
    )
    expected = torch.nn.functional.conv2d(map, taps, padding=1).permute(0, 2, 3, 1).numpy()
    skip = np.zeros((*expected.shape[:3], 1), "float32") if cut else None
    assert np.abs(ops.convert_to_numpy(layer(x, skip)) - expected).max() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (8, 8)], ids=str)
def test_convolution_of_an_enlarged_map(size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((2, *size, 4)).astype("float32")
    kernel = random.standard_normal((3, 3, 4, 6)).astype("float32")
    enlarged = x.repeat(2, axis=1).repeat(2, axis=2)
    expected = ops.convert_to_numpy(ops.conv(enlarged, kernel, padding="same"))
    found = ops.convert_to_numpy(common.conv3x3_by_differences(x, kernel))
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("axes", ["x", "y", "both"])
@pytest.mark.parametrize(("stride", "padding"), [(1, (1, 1)), (2, (1, 1)), (2, (0, 1))])
@pytest.mark.parametrize("size", [(6, 8), (5, 7), (2, 2)], ids=str)
def test_a_map_that_repeats(
    size: tuple[int, int], stride: int, padding: tuple[int, int], axes: str
) -> None:
    """Against PyTorch's circular padding."""
    random = np.random.default_rng(0)
    x = random.standard_normal((2, *size, 4)).astype("float32")
    kernel = random.standard_normal((3, 3, 4, 6)).astype("float32")
    bias = random.standard_normal(6).astype("float32")

    map = torch.from_numpy(x).permute(0, 3, 1, 2)
    for axis, sides in (("y", (0, 0, *padding)), ("x", (*padding, 0, 0))):
        mode = "circular" if axes in (axis, "both") else "constant"
        map = torch.nn.functional.pad(map, sides, mode)
    taps = torch.from_numpy(kernel).permute(3, 2, 0, 1)
    expected = torch.nn.functional.conv2d(map, taps, torch.from_numpy(bias), stride)

    given = [ops.convert_to_tensor(v) for v in (x, kernel, bias)]
    with kernels.repeating(axes):
        found = kernels.conv3x3(*given, stride, padding)
    assert np.abs(ops.convert_to_numpy(found) - expected.permute(0, 2, 3, 1).numpy()).max() < 1e-5


def test_an_enlarged_map_that_repeats() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((1, 3, 4, 4)).astype("float32")
    kernel = random.standard_normal((3, 3, 4, 6)).astype("float32")
    given = [ops.convert_to_tensor(v) for v in (x, kernel, np.zeros(6, "float32"))]
    with kernels.repeating("both"):
        found = ops.convert_to_numpy(kernels.conv3x3_enlarged(*given))
    around = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], "wrap").repeat(2, 1).repeat(2, 2)
    expected = ops.convert_to_numpy(ops.conv(around, kernel, padding="same"))
    assert np.abs(found - expected[:, 2:-2, 2:-2]).max() < 1e-5
