"""The fused norm, run by Pallas' interpreter, against Keras' layers."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from jax import ShapeDtypeStruct as Shape
from keras import ops

from benchmarks import fused_norms
from benchmarks.fused_norms import WHOLE, group_norm_silu
from benchmarks.models import MODELS
from sfumato.networks import autoencoder, layers, unet
from sfumato.runtime.jax import Program

pytestmark = pytest.mark.backend("jax")

# Maps (H, W, C) of one or two samples: small and held whole, large and in tiles; odd sizes; groups
# of 10, 20, 30, 40, 60 and 80 channels as the denoisers have them, and the autoencoder's 4.
SHAPES = [
    (2, 8, 8, 1280),
    (1, 7, 9, 960),
    (1, 5, 3, 2560),
    (2, 16, 24, 1920),
    (1, 33, 31, 320),
    (1, 37, 64, 640),
    (1, 65, 64, 128),
]
# Of values near one, a few units in the last place of the result.
TOLERANCES = {"float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}

fused = jax.jit(partial(group_norm_silu, interpret=True), static_argnames=("groups", "epsilon"))


def drawn(shape: tuple[int, ...], dtype: str) -> tuple[jax.Array, ...]:
    """A map far from mean 0 and variance 1, scale, shift, and an offset for each sample."""
    random = np.random.default_rng(sum(shape))
    x = 5 + 3 * random.standard_normal(shape)
    vectors = random.standard_normal((3, shape[0], shape[-1]))
    return tuple(jnp.asarray(v, dtype) for v in (x, vectors[0, 0], vectors[1, 0], vectors[2]))


def by_keras(x: jax.Array, gamma: jax.Array, beta: jax.Array, offset: jax.Array) -> np.ndarray:
    """In float32, from the same rounded inputs."""
    norm = keras.layers.GroupNormalization(32, -1, 1e-5, dtype="float32")
    norm.build(x.shape)
    norm.gamma.assign(gamma)
    norm.beta.assign(beta)
    y = x.astype("float32") + offset.astype("float32")[:, None, None]
    return ops.convert_to_numpy(ops.silu(norm(y)))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [(shape, "float32") for shape in SHAPES]
    + [(shape, half) for shape in (SHAPES[1], SHAPES[4]) for half in ("float16", "bfloat16")],
    ids=str,
)
def test_it_is_the_layers(shape: tuple[int, ...], dtype: str) -> None:
    x, gamma, beta, offset = drawn(shape, dtype)
    got = fused(x, gamma, beta, groups=32, epsilon=1e-5, offset=offset)
    assert got.dtype == dtype
    expected = by_keras(x, gamma, beta, offset)
    error = np.abs(np.asarray(got, "float32") - expected) / (1 + np.abs(expected))
    assert error.max() < TOLERANCES[dtype]


def test_both_ways_are_tried() -> None:
    sizes = [h * w * (c // 32) for _, h, w, c in SHAPES]
    assert min(sizes) < WHOLE < max(sizes)


def test_a_large_mean_does_not_cancel() -> None:
    """The variance is not a difference of large squares: E[x²] - E[x]² would be off by half."""
    x = 1000 + jnp.asarray(np.random.default_rng(0).standard_normal((1, 64, 64, 64)), "float32")
    one, zero = jnp.ones(64), jnp.zeros(64)
    got = fused(x, one, zero, groups=2, epsilon=1e-5)
    expected = by_keras_groups(np.asarray(x, "float64"), 2)
    assert np.abs(got - expected).max() < 2e-3


def by_keras_groups(x: np.ndarray, groups: int) -> np.ndarray:
    y = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
    y = (y - y.mean((1, 3), keepdims=True)) / np.sqrt(y.var((1, 3), keepdims=True) + 1e-5)
    return (y / (1 + np.exp(-y))).reshape(x.shape)


def test_the_groups_must_divide() -> None:
    with pytest.raises(ValueError, match="`groups` must divide the channels. Received: groups=3"):
        group_norm_silu(jnp.zeros((1, 2, 2, 4)), jnp.ones(4), jnp.zeros(4), 3, 1e-5)


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks, to be put back as they are."""
    for module in (layers, unet, autoencoder):
        monkeypatch.setattr(module, "activate", module.activate)


@pytest.mark.usefixtures("networks")
def test_networks_use_it_where_it_is_installed_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    fused_norms.install()
    assert layers.activate is not fused_norms.activate
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    fused_norms.install()
    assert layers.activate is unet.activate is autoencoder.activate is fused_norms.activate


def test_a_block_with_it_is_the_block_without(monkeypatch: pytest.MonkeyPatch) -> None:
    block = layers.ResnetBlock(64, 96, 32, 1e-5, time_width=16)
    block.build()
    random = np.random.default_rng(0)
    for variable in block.variables:
        variable.assign(random.standard_normal(variable.shape) / 8)
    x = ops.cast(random.standard_normal((2, 6, 5, 64)), "float32")
    shift = ops.cast(random.standard_normal((1, 1, 1, 96)), "float32")
    expected = block(x, shift)
    monkeypatch.setattr(layers, "activate", fused_norms.activate)
    monkeypatch.setattr(fused_norms, "group_norm_silu", partial(group_norm_silu, interpret=True))
    assert np.abs(block(x, shift) - expected).max() < 1e-4


# Lowered for a GPU that is not there

TRITON = pytest.mark.filterwarnings("ignore:The Pallas Triton backend:DeprecationWarning")


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU as far as Triton is concerned; from JAX 0.11 on it asks the device."""
    if find_spec("jax._src.pallas.triton.gpu_info"):
        from jax._src.pallas.triton import gpu_info

        device = SimpleNamespace(compute_capability=90)
        monkeypatch.setattr(gpu_info, "get_gpu_info", lambda: device)


def kernels_of(function: Any, *inputs: Any) -> Counter[str]:
    """The names of the Triton kernels in a program, and how often each is called."""
    lowered = jax.jit(function).trace(*inputs).lower(lowering_platforms=("cuda",))
    return Counter(re.findall(r"name = \"(\w+)\"", lowered.as_text()))


@TRITON
@pytest.mark.usefixtures("hopper")
def test_the_fused_norms_replace_xlas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two in each residual block, and the last; those of the transformers remain."""
    for module in (layers, unet):
        monkeypatch.setattr(module, "activate", fused_norms.activate)
    network = unet.UNet(MODELS["tiny"].unet, "bfloat16")
    program = Program(lambda *inputs: network(list(inputs)), [network], True)
    weights = [Shape(v.shape, "bfloat16") for v in program.variables]
    config = network.config
    shapes = (1, 8, 8, 4), (1, config.channels[0]), (1, 77, config.context_width)
    found = kernels_of(program.pure, weights, *(Shape(shape, "bfloat16") for shape in shapes))
    assert found == {"whole_kernel": 2 * 8 + 1}


@TRITON
@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_large_map_takes_three_kernels(dtype: str) -> None:
    x, vector = Shape((2, 64, 64, 320), dtype), Shape((320,), dtype)
    found = kernels_of(lambda *inputs: group_norm_silu(*inputs, 32, 1e-5), x, vector, vector)
    assert found == {"tile_kernel": 1, "group_kernel": 1, "result_kernel": 1}
