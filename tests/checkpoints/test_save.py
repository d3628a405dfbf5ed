"""What is written is read by diffusers and transformers, with the same results."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import tiny_models
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from sfumato.checkpoints import open_checkpoint, save_diffusers

CLASSES = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_the_reference_implementations_read_it(family, tmp_path):
    save_diffusers(tmp_path, tiny_models.networks(family), dtype="float32")
    weights = tiny_models.weights(family)
    for part, tensors in weights.items():
        model = CLASSES[part].from_pretrained(tmp_path / part, local_files_only=True)
        state = {name.removeprefix("text_model."): t for name, t in model.state_dict().items()}
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(state[name].numpy(), tensor, f"{part} {name}")
    assert open_checkpoint(tmp_path).unet_config() == tiny_models.UNETS[family]
    assert open_checkpoint(tmp_path).autoencoder_config() == tiny_models.VAE


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_diffusers_reads_what_the_shapes_do_not_tell(family, tmp_path):
    save_diffusers(tmp_path, tiny_models.networks(family), dtype="float32")
    judge = UNet2DConditionModel.from_pretrained(tmp_path / "unet")
    config = tiny_models.UNETS[family]
    heads = {
        module.to_q.out_features: module.heads
        for name, module in judge.named_modules()
        if name.endswith(("attn1", "attn2"))
    }
    assert heads
    for width, count in heads.items():
        assert dict(zip(config.channels, config.heads, strict=True))[width] == count
    groups = {m.num_groups for m in judge.modules() if isinstance(m, torch.nn.GroupNorm)}
    assert groups == {config.groups}
    text = CLIPTextModel.from_pretrained(tmp_path / "text_encoder").config
    expected = tiny_models.TEXTS[family][0]
    assert (text.num_attention_heads, text.hidden_act) == (expected.heads, expected.activation)


def test_settings_of_the_whole(tmp_path):
    parts = tiny_models.networks("1.x")
    save_diffusers(tmp_path, parts, {"prediction_type": "sample"}, "float16", size=64)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.prediction == "sample"
    assert checkpoint.settings["unet"]["sample_size"] == 32
    assert checkpoint.parts["unet"]["conv_in.weight"].dtype == "float16"
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["text_encoder"] == ["transformers", "CLIPTextModel"]


def test_int8_embeddings_are_a_quarter_and_read_back(tmp_path):
    parts = {"text_encoder": tiny_models.networks("2.x")["text_encoder"]}
    save_diffusers(tmp_path, parts, dtype="float16", int8_embeddings=True)
    (tmp_path / "unet").mkdir()
    tensors = open_checkpoint(tmp_path / "text_encoder/model.safetensors").parts["text_encoder"]
    assert tensors["embeddings.token_embedding.weight"].dtype == "int8"
    assert tensors["embeddings.token_embedding.weight_scale"].dtype == "float32"
    assert tensors["final_layer_norm.weight"].dtype == "float16"


def test_an_unknown_dtype_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`dtype` must be one of float32, float16, bfloat16"):
        save_diffusers(tmp_path, {}, dtype="int4")


def test_settings_are_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    save_diffusers(tmp_path, {})
    file = tmp_path / "scheduler/scheduler_config.json"
    before = file.read_bytes()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        save_diffusers(tmp_path, {}, {"prediction_type": "sample"})
    assert file.read_bytes() == before
    assert [each.name for each in file.parent.iterdir()] == [file.name]
