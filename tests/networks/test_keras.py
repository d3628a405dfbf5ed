"""The networks are ordinary Keras models: summary, fit, save_weights, quantize, dtype policies."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import tiny_model
from sfumato.networks.configs import UNetConfig
from sfumato.networks.network import keys
from sfumato.networks.unet import UNet

pytestmark = pytest.mark.backend("jax", "torch")

SMALL = UNetConfig(
    channels=(16, 32),
    down=((1,), (0,)),
    mid=(1, 0),
    up=((0, 0), (1, 1)),
    heads=(2, 2),
    context_width=16,
    groups=8,
)


def inputs(count: int = 2) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = {"latent": (8, 8, 4), "timestep_embedding": (16,), "context": (5, 16)}
    return {
        name: random.standard_normal((count, *shape)).astype("float32")
        for name, shape in shapes.items()
    }


@pytest.fixture
def unet() -> UNet:
    network = UNet(SMALL)
    network.initialize(seed=1)
    return network


def test_summary_counts_all_parameters(unet: UNet) -> None:
    lines: list[str] = []
    unet.summary(print_fn=lines.append)
    assert f"{unet.count_params():,}" in "\n".join(lines)
    assert unet.count_params() == sum(np.prod(v.shape) for v in keys(unet).values())


def test_fit_learns(unet: UNet) -> None:
    x, y = inputs(8), np.ones((8, 8, 8, 4), "float32")
    unet.compile(keras.optimizers.Adam(3e-3), "mse")
    history = unet.fit(x, y, epochs=6, batch_size=4, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


def test_weights_of_a_file_give_the_same_answer(unet: UNet, tmp_path: Path) -> None:
    unet.save_weights(tmp_path / "unet.weights.h5")
    other = UNet(SMALL)
    other.initialize(seed=2)
    x = inputs()
    assert not np.allclose(other.predict_on_batch(x), unet.predict_on_batch(x), atol=1e-3)
    other.load_weights(tmp_path / "unet.weights.h5")
    assert np.array_equal(other.predict_on_batch(x), unet.predict_on_batch(x))


@pytest.mark.backend("jax")  # it takes half a minute elsewhere
@pytest.mark.filterwarnings("ignore:Layer .* does not have a .quantize. method:UserWarning")
def test_quantization() -> None:
    unet, x = tiny_model.unet(1, tiny_model.SMALLEST), inputs()
    exact = unet.predict_on_batch(x)
    unet.quantize("int8")
    assert np.abs(unet.predict_on_batch(x) - exact).max() < 0.1 * np.abs(exact).max()


@pytest.mark.parametrize("dtype", ["mixed_float16", "bfloat16"])
def test_precision(unet: UNet, dtype: str) -> None:
    network = UNet(SMALL, dtype)
    network.initialize(seed=1)
    policy = keras.dtype_policies.get(dtype)
    assert {v.dtype for v in network.variables} == {policy.variable_dtype}
    x = inputs()
    result = network.predict_on_batch(x)
    assert result.dtype == policy.compute_dtype
    difference = np.abs(result.astype("float32") - unet.predict_on_batch(x))
    assert difference.max() < (0.1 if dtype == "bfloat16" else 0.01)


def test_a_seed_draws_the_same_weights(unet: UNet) -> None:
    again = UNet(SMALL)
    again.initialize(seed=1)
    pairs = zip(keys(unet).values(), keys(again).values(), strict=True)
    assert all(np.array_equal(*map(ops.convert_to_numpy, (a, b))) for a, b in pairs)
