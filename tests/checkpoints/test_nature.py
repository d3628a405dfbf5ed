"""What is given as a model and is none: the error says what it is and what to do."""

from __future__ import annotations

import zipfile

import h5py
import numpy as np
import pytest
import tiny_models
import torch

from sfumato.checkpoints import CheckpointError, open_checkpoint, save_diffusers
from sfumato.checkpoints.nature import PICKLES
from sfumato.checkpoints.safetensors import write_safetensors

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 3438167540\n"
TEXTS = {
    "git lfs pull": POINTER,
    "web page": b"\n<!DOCTYPE html>\n<html lang='en'><head><title>Sign in</title>",
    "is a text, not weights": b'{"error": "Invalid credentials in Authorization header"}',
    "GGUF": b"GGUF\x03\x00\x00\x00" + bytes(99),
    "begins with zeros": bytes(4096),
    "is a picture": b"\x89PNG\r\n\x1a\n" + bytes(99),
    "unpack it first": b"7z\xbc\xaf\x27\x1c" + bytes(99),
    "is empty": b"",
}


def refused(path) -> str:
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(path)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("ending", [".safetensors", ".ckpt", ".bin", ".h5", ""])
@pytest.mark.parametrize("words", TEXTS)
def test_a_file_that_holds_no_weights(tmp_path, words, ending):
    path = tmp_path / f"model{ending}"
    path.write_bytes(TEXTS[words])
    assert words in refused(path)


def test_a_pointer_in_any_part_of_a_folder(tmp_path):
    save_diffusers(tmp_path, tiny_models.networks("1.x"))
    for file in [*tmp_path.rglob("*.safetensors"), *tmp_path.rglob("*.json")]:
        content = file.read_bytes()
        file.write_bytes(POINTER)
        with pytest.raises(CheckpointError, match="git lfs pull"):
            open_checkpoint(tmp_path)
        file.write_bytes(content)
    open_checkpoint(tmp_path)


def written(path, form: str) -> None:
    """A file of one tensor, whatever its ending."""
    if form == ".safetensors":
        write_safetensors(path, {"a": np.zeros(9, "float32")})
    elif form == ".h5":
        with h5py.File(path, "w") as file:
            file["a"] = np.zeros(9, "float32")
    else:
        torch.save({"a": torch.zeros(9)}, path)


@pytest.mark.parametrize("form", [".safetensors", ".h5", ".ckpt"])
def test_an_ending_that_lies(tmp_path, form):
    for ending in (".safetensors", ".h5", ".ckpt", ".pt", ".bin", ".download", ""):
        path = tmp_path / f"model{ending}"
        written(path, form)
        same = ending == form or {ending, form} <= set(PICKLES)
        assert (f"rename it to end in {form}" in refused(path)) != same


def test_what_was_cut_off_says_so(tmp_path):
    for form in (".safetensors", ".ckpt"):
        path = tmp_path / f"model{form}"
        written(path, form)
        path.write_bytes(path.read_bytes()[:-8])
        assert "it is cut off" in refused(path)
        assert "download it again" in refused(path)


def test_a_zip_archive_of_something_else(tmp_path):
    path = tmp_path / "model.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.safetensors", "x")
    assert "unpack it first" in refused(path)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", "a LoRA"),
        ("unet.down_blocks.0.attn1.processor.to_k_lora.down.weight", "a LoRA"),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.lokr_w1", "a LoRA"),
        ("unet:0:up", "a LoRA"),
        ("emb_params", "an embedding"),
        ("<my-cat>", "an embedding"),
        ("clip_g", "an embedding"),
        ("controlnet_cond_embedding.conv_in.weight", "a ControlNet"),
        ("image_proj.proj.weight", "an IP-Adapter"),
        ("vision_model.embeddings.class_embedding", "an encoder of pictures"),
        ("decoder.layers.0.weight", "a tiny autoencoder"),
        ("3.conv.0.weight", "a tiny autoencoder"),
        ("params_ema", "an upscaler"),
        ("double_blocks.0.img_attn.qkv.weight", "a diffusion transformer"),
        ("down_blocks.0.motion_modules.0.norm.weight", "a motion module"),
        ("input_blocks.1.0.in_layers.0.weight", "a U-Net by itself"),
        ("something", "no network of Stable Diffusion; its first tensor is `something`"),
    ],
)
def test_another_kind_of_network_is_named(tmp_path, name, what):
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {name: np.zeros(3, "float32")})
    assert f"holds {what}" in refused(path)


def test_pickles_of_other_things_are_named(tmp_path):
    path = tmp_path / "model.pt"
    for content, what in (
        ([torch.zeros(3)], "a list of tensors, as old LoRAs are"),
        ({"string_to_token": {"*": 265}, "string_to_param": {"*": torch.zeros(3)}}, "an embedding"),
        ({}, "no tensors at all"),
        ({"state_dict": {"params_ema": {}}}, "an upscaler"),
    ):
        torch.save(content, path)
        assert f"holds {what}" in refused(path)


def test_no_tensors_at_all(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", {})
    assert "holds no tensors at all" in refused(tmp_path / "model.safetensors")
    save_diffusers(tmp_path / "model", tiny_models.networks("1.x"))
    write_safetensors(tmp_path / "model/vae/diffusion_pytorch_model.safetensors", {})
    with pytest.raises(CheckpointError, match="vae` holds no tensors at all"):
        open_checkpoint(tmp_path / "model")
