"""Filling is total: every tensor once, every variable once, and errors name what is wrong."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import keras
import ml_dtypes
import numpy as np
import pytest
import tiny_models
from keras import ops

from sfumato.checkpoints import CheckpointError, fill
from sfumato.checkpoints.copying import Arena
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.checkpoints.save import export, quantize_embeddings
from sfumato.networks.configs import TextEncoderConfig
from sfumato.networks.network import keys
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet

CONFIG = tiny_models.TEXTS["2.x"][0]


@pytest.fixture
def tensors():
    return dict(tiny_models.weights("2.x")["text_encoder"])


def values(network) -> dict[str, np.ndarray]:
    return {key: np.array(ops.convert_to_numpy(v.value)) for key, v in keys(network).items()}


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_a_filled_network_equals_the_one_that_was_written(family):
    for part, written in tiny_models.networks(family).items():
        fresh = [type(each)(each.config) for each in written]
        fill(fresh, tiny_models.weights(family)[part])
        for ours, theirs in zip(fresh, written, strict=True):
            found = values(ours)
            for key, value in values(theirs).items():
                np.testing.assert_array_equal(found[key], value, key)


def test_layouts():
    """Against the definition: convolutions and linear layers turned, q, k and v side by side."""
    network = UNet(tiny_models.UNETS["1.x"])
    tensors = tiny_models.weights("1.x")["unet"]
    fill(network, tensors)
    found = values(network)
    convolution = tensors["conv_in.weight"]
    np.testing.assert_array_equal(found["conv_in.weight"], convolution.transpose(2, 3, 1, 0))
    stem = "down_blocks.0.attentions.0.transformer_blocks.0.attn1."
    q, k, v = (tensors[f"{stem}to_{part}.weight"] for part in "qkv")
    np.testing.assert_array_equal(found[f"{stem}to_qkv.weight"], np.concatenate([q, k, v]).T)
    projection = tensors["down_blocks.0.attentions.0.proj_in.weight"]
    assert projection.shape == (32, 32, 1, 1)
    np.testing.assert_array_equal(
        found["down_blocks.0.attentions.0.proj_in.weight"], projection[:, :, 0, 0].T
    )


@pytest.mark.parametrize("source", ["float16", "float32", "bfloat16"])
@pytest.mark.parametrize("policy", ["float32", "float16", "bfloat16", "mixed_float16"])
def test_weights_are_cast_to_the_variables_dtype(tensors, source, policy):
    kind = ml_dtypes.bfloat16 if source == "bfloat16" else source
    tensors = {name: tensor.astype(kind) for name, tensor in tensors.items()}
    network = TextEncoder(CONFIG, policy)
    fill(network, tensors)
    for variable in network.variables:
        assert variable.dtype == keras.dtype_policies.get(policy).variable_dtype
    name = "encoder.layers.0.mlp.fc1.weight"
    value = values(network)[name]
    np.testing.assert_array_equal(value, tensors[name].astype(value.dtype).T)


def test_every_half_number_is_cast_exactly():
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    tensors = dict(tiny_models.weights("2.x")["text_encoder"])
    name = "encoder.layers.0.mlp.fc1.weight"
    tensors[name] = halves[:8192].reshape(64, 128)
    for start in range(0, 2**16, 8192):
        tensors[name] = halves[start : start + 8192].reshape(64, 128)
        network = TextEncoder(CONFIG, "float32")
        fill(network, tensors)
        np.testing.assert_array_equal(values(network)[name], tensors[name].T.astype("float32"))


def test_all_that_is_wrong_is_named_at_once_and_nothing_is_changed(tensors):
    network = TextEncoder(CONFIG)
    fill(network, tensors)
    before = values(network)
    del tensors["encoder.layers.1.self_attn.k_proj.bias"]
    tensors["encoder.layers.2.extra"] = np.zeros(3)
    tensors["final_layer_norm.weight"] = np.zeros((1, 128), "float32")
    tensors["encoder.layers.0.mlp.fc1.weight"] = tensors["encoder.layers.0.mlp.fc2.weight"]
    with pytest.raises(CheckpointError) as error:
        fill(network, tensors)
    text = str(error.value)
    assert "does not fit the TextEncoder" in text
    assert "missing: encoder.layers.1.self_attn.k_proj.bias;" in text
    assert "unexpected: encoder.layers.2.extra;" in text
    assert "encoder.layers.0.mlp.fc1.weight (128, 64) instead of (64, 128)" in text
    assert "final_layer_norm.weight (1, 128) instead of (128,)" in text
    after = values(network)
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value)


def test_a_network_that_was_not_filled_stays_without_values(tensors):
    network = TextEncoder(CONFIG)
    del tensors["final_layer_norm.bias"]
    with pytest.raises(CheckpointError, match=r"missing: final_layer_norm\.bias$"):
        fill(network, tensors)
    assert all(variable._value is None for variable in network.variables)


def test_known_spare_tensors_are_passed_over(tensors):
    spare = {"embeddings.position_ids": np.arange(77), "text_projection.weight": np.zeros((3, 3))}
    fill(TextEncoder(CONFIG), tensors | spare)


def test_keras_draws_nothing_for_a_filled_network_afterwards(tensors):
    network = TextEncoder(CONFIG)
    fill(network, tensors)
    before = values(network)
    with keras.StatelessScope():
        pass
    for key, value in values(network).items():
        np.testing.assert_array_equal(value, before[key])
    fill(network, tensors)  # again: the variables are assigned


def test_int8_embeddings(tensors):
    small = quantize_embeddings(tensors)
    name = "embeddings.token_embedding.weight"
    assert small[name].dtype == np.int8
    network = TextEncoder(CONFIG)
    fill(network, small)
    steps = np.abs(tensors[name]).max(axis=1, keepdims=True) / 127
    assert (np.abs(values(network)[name] - tensors[name]) <= steps * 0.5001).all()
    del small[f"{name}_scale"]
    with pytest.raises(CheckpointError, match=r"missing: .*token_embedding.weight_scale"):
        fill(network, small)


def test_the_arenas_arrays_are_aligned_and_do_not_overlap():
    arena = Arena()
    arrays = [arena.empty((n, 3), np.dtype("float16")) for n in (1, 7, 0, 1000, 2**22, 5)]
    for index, array in enumerate(arrays):
        assert array.ctypes.data % 64 == 0
        array[...] = index
    assert all((array == index).all() for index, array in enumerate(arrays))


def test_a_large_file_is_filled_without_a_second_copy(tmp_path):
    """100 MB of weights: the process grows by them once, and nothing more stays or passes by."""
    code = """
import sys
import numpy as np
from sfumato.checkpoints import fill
from sfumato.checkpoints.safetensors import read_safetensors
from sfumato.networks.configs import TextEncoderConfig
from sfumato.networks.text_encoder import TextEncoder

def anonymous(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024

config = TextEncoderConfig(1024, 2, 16, 4096, "gelu")
network, other = TextEncoder(config, "float16"), TextEncoder(config, "float16")
tensors = read_safetensors(sys.argv[1])
size = sum(tensor.nbytes for tensor in tensors.values())
small = TextEncoder(TextEncoderConfig(64, 1, 1, 64, vocabulary=9))
small.initialize(0)
fill(other, tensors)
before = anonymous("RssAnon")
fill(network, tensors)
print((anonymous("RssAnon") - before) / size)
"""
    path = tmp_path / "x.safetensors"
    network = TextEncoder(TextEncoderConfig(1024, 2, 16, 4096, "gelu"), "float16")
    tensors = {}
    for key, variable in keys(network).items():
        shape = tuple(variable.shape)
        shape = shape[::-1] if variable.name == "kernel" else shape
        names = [key]
        if "qkv_proj" in key:
            names = [key.replace("qkv_proj", f"{part}_proj") for part in "qkv"]
            shape = (shape[0] // 3, *shape[1:])
        tensors |= {name: np.full(shape, 0.5, "float16") for name in names}
    write_safetensors(path, tensors)
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 1.25


DIGEST = """
import hashlib, json, sys
import keras, numpy as np
from sfumato.checkpoints import open_checkpoint, fill
from sfumato.networks.unet import UNet
from sfumato.networks.network import keys

checkpoint = open_checkpoint(sys.argv[1])
digests = {}
for policy in ("float32", "float16", "bfloat16"):
    network = UNet(checkpoint.unet_config(), policy)
    fill(network, checkpoint.parts["unet"])
    digest = hashlib.sha256()
    for key, variable in sorted(keys(network).items()):
        value = keras.ops.convert_to_numpy(keras.ops.cast(variable.value, "float32"))
        digest.update(np.ascontiguousarray(value).tobytes())
    digests[policy] = digest.hexdigest()
print(json.dumps([keras.backend.backend(), digests]))
"""


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_other_backends_hold_the_same_weights(backend, tmp_path):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, tiny_models.to_compvis("2.x"))
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run(
        [sys.executable, "-c", DIGEST, str(path)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    name, digests = json.loads(run.stdout.splitlines()[-1])
    assert name == backend
    for policy, digest in digests.items():
        network = UNet(tiny_models.UNETS["2.x"], policy)
        fill(network, tiny_models.weights("2.x")["unet"])
        expected = hashlib.sha256()
        for _, value in sorted(values(network).items()):
            expected.update(np.ascontiguousarray(value.astype("float32")).tobytes())
        assert digest == expected.hexdigest(), policy


def test_export_is_the_reverse():
    network = tiny_models.networks("xl")["unet"]
    fresh = UNet(tiny_models.UNETS["xl"])
    fill(fresh, export(network))
    assert export(fresh).keys() == export(network).keys()
