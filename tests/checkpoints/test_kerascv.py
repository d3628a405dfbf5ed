"""KerasCV's .h5 files, made by KerasCV's own classes, and what its networks make of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import keras
import numpy as np
import pytest
from keras import ops

from sfumato.checkpoints import Checkpoint, CheckpointError, fill, open_checkpoint
from sfumato.checkpoints.hdf5 import Weight, read_keras_h5
from sfumato.checkpoints.kerascv import from_kerascv
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.network import Network
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet

WRITER = Path(__file__).parent / "kerascv_files.py"


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """The files of both versions."""
    root = tmp_path_factory.mktemp("kerascv")
    # KerasCV runs on every backend; torch is the one on which it is made in seconds.
    environment = {**os.environ, "KERAS_BACKEND": "torch", "TF_CPP_MIN_LOG_LEVEL": "3"}
    made = {version: root / version for version in ("v1", "v2")}
    command = [sys.executable, "-W", "ignore", WRITER, *made.values()]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    return made


def filled(checkpoint: Checkpoint, part: str) -> Network:
    if part == "unet":
        network = UNet(checkpoint.unet_config())
    elif part == "text_encoder":
        config = checkpoint.text_encoder_config()
        if config.layers == 12:  # real ones are told apart by their width
            config = replace(config, heads=2, activation="quick_gelu")
        network = TextEncoder(config)
    else:
        kind = ImageDecoder if part == "decoder" else ImageEncoder
        network = kind(checkpoint.autoencoder_config())
    fill(network, checkpoint.parts[part])
    return network


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "file", "part", "tolerance"),
    [
        ("v1", "kcv_encoder", "text_encoder", 1e-5),
        # Beyond rounding: tanh GELU instead of the exact one, and other epsilons in the norms.
        ("v1", "kcv_diffusion_model", "unet", 5e-4),
        ("v1", "kcv_decoder", "decoder", 5e-5),
        ("v1", "vae_encoder", "image_encoder", 5e-5),
        ("v2", "text_encoder_v2_1", "text_encoder", 1e-3),
        ("v2", "diffusion_model_v2_1", "unet", 5e-4),
    ],
)
def test_networks_compute_what_kerascv_computes(folders, version, file, part, tolerance):
    checkpoint = open_checkpoint(folders[version] / f"{file}.h5")
    assert list(checkpoint.parts) == [part]
    with np.load(folders[version] / f"{file}.npz") as known:
        inputs = [known[f"arr_{index}"] for index in range(len(known.files) - 1)]
        expected = known["output"]
    network = filled(checkpoint, part)
    run = jax.jit(network) if keras.backend.backend() == "jax" else network
    found = ops.convert_to_numpy(run(inputs if part == "unet" else inputs[0]))
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert error < tolerance


@pytest.mark.slow
def test_a_folder_of_the_files_is_a_whole_model(folders, tmp_path):
    checkpoint = open_checkpoint(folders["v1"])
    assert sorted(checkpoint.parts) == ["decoder", "image_encoder", "text_encoder", "unet"]
    assert checkpoint.prediction == "epsilon"
    assert checkpoint.unet_config().channels == (32, 64, 128, 128)
    assert not checkpoint.unet_config().linear_projection
    assert open_checkpoint(folders["v2"]).unet_config().linear_projection
    for copy in ("a.h5", "b.h5"):
        shutil.copy(folders["v1"] / "kcv_decoder.h5", tmp_path / copy)
    with pytest.raises(CheckpointError, match="the decoder twice"):
        open_checkpoint(tmp_path)


@pytest.mark.slow
def test_other_orders_and_counts_are_refused(folders):
    weights = read_keras_h5(folders["v1"] / "kcv_encoder.h5")
    with pytest.raises(CheckpointError, match="Received: 195 arrays"):
        from_kerascv(weights[:-1])
    swapped = [*weights[:-2], weights[-1], weights[-2]]
    with pytest.raises(CheckpointError, match=r"beta:?0?' where 'final_layer_norm\.weight'"):
        from_kerascv(swapped)


def test_an_empty_file_is_refused():
    for count in (0, 4, 5):
        with pytest.raises(CheckpointError, match=f"Received: {count} arrays"):
            from_kerascv([Weight("x/kernel:0", np.zeros((2, 2)))] * count)
