"""Single files of the three families against diffusers' own conversion of the same file."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import torch
from diffusers.loaders import single_file_utils as judge
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from sfumato.checkpoints import CheckpointError, open_checkpoint
from sfumato.checkpoints.compvis import from_compvis
from sfumato.checkpoints.safetensors import write_safetensors


def same(ours: dict[str, np.ndarray], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(ours[name].reshape(tensor.shape), tensor.numpy(), name)


def tensors_of(file: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(tensor)) for name, tensor in file.items()}


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_the_same_tensors_as_the_networks_that_were_written(family, tmp_path):
    path = tmp_path / "model.safetensors"
    write_safetensors(path, tiny_models.to_compvis(family))
    parts = open_checkpoint(path).parts
    vae = parts.pop("image_encoder") | parts.pop("decoder")
    expected = tiny_models.weights(family)
    for part, found in {**parts, "vae": vae}.items():
        wanted = expected.pop(part)
        assert found.keys() == wanted.keys()
        for name, tensor in wanted.items():
            np.testing.assert_array_equal(found[name].reshape(tensor.shape), tensor, name)
    assert not expected


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_unet_as_diffusers_converts_it(family):
    file = tiny_models.to_compvis(family)
    c = tiny_models.UNETS[family]
    config = {"layers_per_block": 2, "class_embed_type": None, "addition_embed_type": None}
    config["addition_embed_type"] = "text_time" if c.added_width else None
    same(from_compvis(file)["unet"], judge.convert_ldm_unet_checkpoint(tensors_of(file), config))


def test_autoencoder_as_diffusers_converts_it():
    file = tiny_models.to_compvis("1.x")
    config = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": (1, 2)}
    converted = judge.convert_ldm_vae_checkpoint(tensors_of(file), config)
    same(from_compvis(file)["vae"], converted)


def test_openclip_as_diffusers_converts_it():
    file = tiny_models.to_compvis("xl")
    config = CLIPTextConfig(
        vocab_size=20,
        hidden_size=128,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=32,
        bos_token_id=0,
        eos_token_id=1,
    )
    model = CLIPTextModelWithProjection(config)
    prefix = "conditioner.embedders.1.model."
    converted = judge.convert_open_clip_checkpoint(model, tensors_of(file), prefix=prefix)
    model.load_state_dict(converted)
    theirs = {name.removeprefix("text_model."): each for name, each in model.state_dict().items()}
    same(from_compvis(file)["text_encoder_2"], theirs)


def test_clip_as_diffusers_converts_it():
    file = tiny_models.to_compvis("1.x")
    del file["cond_stage_model.transformer.text_model.embeddings.position_ids"]
    converted = judge.convert_ldm_clip_checkpoint(tensors_of(file))
    ours = from_compvis(file)["text_encoder"]
    same(ours, {name.removeprefix("text_model."): each for name, each in converted.items()})


def test_views_of_the_fused_projection_take_no_memory():
    file = tiny_models.to_compvis("2.x")
    name = "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight"
    part = from_compvis(file)["text_encoder"]["encoder.layers.0.self_attn.v_proj.weight"]
    assert np.shares_memory(part, file[name])


def test_a_tensor_of_no_network_is_named():
    file = tiny_models.to_compvis("1.x") | {"control_model.zero.weight": np.zeros(1)}
    with pytest.raises(CheckpointError, match=r"no known network: control_model\.zero\.weight"):
        from_compvis(file)


def test_prediction_where_the_file_tells(tmp_path):
    path = tmp_path / "model.safetensors"
    for family, extra, prediction in (
        ("1.x", {}, "epsilon"),
        ("2.x", {}, None),
        ("2.x", {"v_pred": np.zeros(0, "float32")}, "v_prediction"),
    ):
        write_safetensors(path, tiny_models.to_compvis(family) | extra)
        assert open_checkpoint(path).prediction == prediction


def test_noise_where_the_file_tells(tmp_path):
    path = tmp_path / "model.safetensors"
    marks = {"v_pred": np.zeros(0, "float32"), "ztsnr": np.zeros(0, "float32")}
    write_safetensors(path, tiny_models.to_compvis("xl") | marks)
    checkpoint = open_checkpoint(path)
    assert checkpoint.prediction == "v_prediction"
    assert checkpoint.settings["scheduler"]["rescale_betas_zero_snr"]


def test_the_noise_levels_of_edm_are_refused_by_name():
    file = tiny_models.to_compvis("xl") | {"edm_vpred.sigma_max": np.float32(120).reshape(())}
    with pytest.raises(CheckpointError, match=r"CosXL.*Received: edm_vpred\.sigma_max"):
        from_compvis(file)
