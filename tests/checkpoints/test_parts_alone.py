"""A network by itself, in a folder or a file, with its settings."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tiny_models

from sfumato.checkpoints import CheckpointError, open_checkpoint, open_model, save_diffusers
from sfumato.checkpoints.safetensors import write_safetensors

NAME = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path):
    save_diffusers(tmp_path, tiny_models.networks("2.x"))
    path = tmp_path / "vae/config.json"
    changed = {"scaling_factor": 0.25, "norm_num_groups": 16}
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    return tmp_path


def test_an_autoencoder_with_its_settings(folder):
    wanted = replace(tiny_models.VAE, scaling_factor=0.25, groups=16)
    shutil.copy(folder / "vae" / NAME, folder / "vae/another.safetensors")
    for path in (folder / "vae", folder / "vae" / NAME):
        checkpoint = open_checkpoint(path)
        assert checkpoint.parts.keys() == {"image_encoder", "decoder"}
        assert checkpoint.autoencoder_config() == wanted


def test_the_settings_next_to_a_file_of_another_name_are_not_its_own(folder):
    shutil.copy(folder / "vae" / NAME, folder / "vae/another.safetensors")
    with pytest.warns(UserWarning, match=r"another\.safetensors` does not say its scaling factor"):
        config = open_checkpoint(folder / "vae/another.safetensors").autoencoder_config()
    assert config == tiny_models.VAE


def test_the_settings_of_a_network_by_itself_are_checked(folder):
    path = folder / "vae/config.json"
    path.write_text(json.dumps({"_class_name": "AutoencoderTiny"}))
    with pytest.raises(CheckpointError, match="`_class_name` must be 'AutoencoderKL'"):
        open_checkpoint(folder / "vae")


@pytest.mark.filterwarnings("ignore:.*scaling factor")
@pytest.mark.parametrize("prefix", ["first_stage_model.", ""])
def test_an_autoencoder_in_the_names_of_compvis(tmp_path, prefix):
    start = "first_stage_model."
    file = {
        prefix + name.removeprefix(start): tensor
        for name, tensor in tiny_models.to_compvis("1.x").items()
        if name.startswith(start)
    }
    file |= {"model_ema.decay": np.float32(0.9).reshape(()), "loss.logvar": np.zeros(1, "float32")}
    write_safetensors(tmp_path / "vae.safetensors", file)
    parts = open_model(tmp_path / "vae.safetensors").checkpoint.parts
    found = parts["image_encoder"] | parts["decoder"]
    for name, tensor in tiny_models.weights("1.x")["vae"].items():
        np.testing.assert_array_equal(found[name].reshape(tensor.shape), tensor)


def test_a_controlnet_is_no_unet(folder):
    tensors = tiny_models.weights("2.x")["unet"]
    tensors |= {"controlnet_down_blocks.0.weight": np.zeros(1, "float32")}
    write_safetensors(folder / "control.safetensors", tensors)
    with pytest.raises(CheckpointError, match="holds a ControlNet"):
        open_checkpoint(folder / "control.safetensors")


def test_a_folder_of_another_kind_of_model_is_named(folder):
    shutil.rmtree(folder / "unet")
    index = {"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="is a FluxPipeline, not a model of"):
        open_checkpoint(folder)


def test_another_prediction_than_there_are_is_refused(folder):
    with pytest.raises(ValueError, match="`prediction` must be one of epsilon, v_prediction"):
        open_model(folder, prediction="v")
