"""Weights by key: put together, stored, and taken out again."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tiny_models
from keras import ops

from sfumato.checkpoints import fill
from sfumato.checkpoints.weights import assemble, restore, source_shapes, sources, store
from sfumato.networks.network import keys
from sfumato.networks.unet import UNet

QKV = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_qkv.weight"


def numbers(variable) -> np.ndarray:
    return np.array(ops.convert_to_numpy(variable.value))


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_every_variable_is_put_together_as_the_loader_does_it(family):
    for part, networks in tiny_models.networks(family).items():
        tensors = tiny_models.weights(family)[part]
        for key, variable in (item for each in networks for item in keys(each).items()):
            expected = numbers(variable)
            np.testing.assert_array_equal(assemble(key, tensors), expected, key)
            room = np.full(expected.shape, np.nan, "float16")
            assert assemble(key, tensors, room) is room
            np.testing.assert_array_equal(room, expected.astype("float16"), key)
            for name in sources(key):
                assert tensors[name].shape in source_shapes(key, expected.shape)


def test_one_tensor_is_not_copied():
    tensors = tiny_models.weights("1.x")["unet"]
    for key in ("conv_in.weight", "conv_in.bias", "time_embedding.linear_1.weight"):
        assert np.shares_memory(assemble(key, tensors), tensors[key])


def test_int8_is_scaled_by_rows():
    tensors = {
        "x.weight": np.array([[1, -2], [3, 4]], "int8"),
        "x.weight_scale": np.float32([2, 3]),
    }
    np.testing.assert_array_equal(assemble("x.weight", tensors), [[2, 9], [-4, 12]])


@pytest.mark.parametrize("policy", ["float32", "bfloat16"])
@pytest.mark.parametrize("key", ["conv_in.weight", "conv_norm_out.bias", QKV])
def test_a_changed_weight_is_put_back_as_it_was(policy, key):
    tensors = tiny_models.weights("1.x")["unet"]
    network = UNet(tiny_models.UNETS["1.x"], policy)
    fill(network, tensors)
    variable = keys(network)[key]
    before, value = numbers(variable), variable.value
    *_, name = sources(key)
    previous = store(variable, assemble(key, tensors | {name: tensors[name] + 1}))
    changed = numbers(variable)
    width = changed.shape[-1] // len(sources(key))
    expected = (tensors[name] + 1).astype(before.dtype)
    if expected.ndim > 1:
        expected = np.moveaxis(expected, (0, 1), (-1, -2))
    np.testing.assert_array_equal(changed[..., -width:], expected)
    restore(variable, previous)
    np.testing.assert_array_equal(numbers(variable), before)
    if keras.backend.backend() == "jax":
        assert variable.value is value
