"""Single files of the three families against diffusers' own conversion of the same file."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import torch
from diffusers.loaders import single_file_utils as judge
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from sfumato.checkpoints import CheckpointError, open_checkpoint, open_model
from sfumato.checkpoints.compvis import from_compvis
from sfumato.checkpoints.folders import native
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


def test_a_tensor_of_no_network_is_passed_over_with_a_warning():
    file = tiny_models.to_compvis("1.x")
    parts = from_compvis(file)
    with pytest.warns(UserWarning, match=r"no known network are not used: control_model\.zero"):
        found = from_compvis(file | {"control_model.zero.weight": np.zeros(1)})
    assert found.keys() == parts.keys()


@pytest.mark.parametrize("name", ["new_layer.weight", "time_embed.cond_proj.weight"])
def test_a_name_within_a_network_is_refused(tmp_path, name):
    path = tmp_path / "model.safetensors"
    file = tiny_models.to_compvis("1.x") | {f"model.diffusion_model.{name}": np.zeros(1, "float32")}
    write_safetensors(path, file)
    with pytest.raises(CheckpointError, match=f"does not fit the unet.*unexpected: {name}"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("1.x", "cond_stage_model.text_projection"),
        ("1.x", "cond_stage_model.transformer.text_projection.weight"),
        ("1.x", "cond_stage_model.logit_scale"),
        ("xl", "conditioner.embedders.0.text_projection.weight"),
        ("xl", "conditioner.embedders.0.text_projection"),
    ],
)
def test_leftovers_that_nothing_uses_change_nothing(family, name):
    file = tiny_models.to_compvis(family)
    found = from_compvis(file | {name: np.eye(8, dtype="float32")})
    for part, tensors in from_compvis(file).items():
        assert found[part].keys() == tensors.keys()


def test_2_in_the_format_of_generative_models():
    file = tiny_models.to_compvis("2.x")
    renamed = {
        name.replace("cond_stage_model.", "conditioner.embedders.0."): tensor
        for name, tensor in file.items()
    }
    found, wanted = from_compvis(renamed)["text_encoder"], from_compvis(file)["text_encoder"]
    assert found.keys() == wanted.keys()


@pytest.mark.parametrize(("layers", "used"), [(24, 23), (23, 23), (12, 11)])
def test_the_layer_of_openclip_that_is_not_used(layers, used):
    """As diffusers: of 24 layers the last is not used, of 23 all are."""
    names = [f"model.transformer.resblocks.{layer}.ln_1.weight" for layer in range(layers)]
    for prefix in ("cond_stage_model.", "conditioner.embedders.0."):
        file = {prefix + name: np.ones(1024, "float32") for name in names}
        assert len(from_compvis(file)["text_encoder"]) == used


def test_the_unused_layer_in_the_names_of_transformers():
    name = "cond_stage_model.transformer.text_model.{}.weight"
    for width, used in ((1024, 23), (768, 24)):
        file = {name.format(f"encoder.layers.{i}.layer_norm1"): np.ones(width) for i in range(24)}
        file[name.format("final_layer_norm")] = np.ones(width)
        assert len(from_compvis(file)["text_encoder"]) == used + 1


@pytest.mark.parametrize(
    "attention",
    [
        "mid.attn_1.{q,k,v,proj_out}",
        "mid.attn_1.{to_q,to_k,to_v,to_out.0}",
        "mid.attn_1.{query,key,value,proj_attn}",
        "mid_block.attentions.0.{query,key,value,proj_attn}",
        "mid_block.attentions.0.{to_q,to_k,to_v,to_out.0}",
    ],
)
@pytest.mark.parametrize("prefix", ["first_stage_model.", ""])
def test_every_naming_of_the_autoencoders_attention(attention, prefix):
    stem, _, leaves = attention.rstrip("}").partition("{")
    old = [f"decoder.{stem}{leaf}.weight" for leaf in leaves.split(",")]
    file = {prefix + name: np.zeros((4, 4)) for name in old}
    found = from_compvis(file)["vae"] if prefix else native("vae", file)
    leaves = ("to_q", "to_k", "to_v", "to_out.0")
    assert list(found) == [f"decoder.mid_block.attentions.0.{leaf}.weight" for leaf in leaves]


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


def test_cosxl_by_its_marks(tmp_path):
    marks = {"edm_vpred.sigma_max": np.float32(90).reshape(())}
    model = single(tmp_path, marks)
    noise = {"sigma_min": 0.002, "sigma_max": 90.0, "sigma_data": 1.0}
    assert (model.prediction, model.noise) == ("v_prediction", noise)
    assert model.schedule_for("euler") == "exponential"
    assert model.autoencoder_config.scaling_factor == 0.13025
    wrong = {"edm_vpred.sigma_min": np.zeros(3, "float32")}
    with pytest.raises(CheckpointError, match=r"`edm_vpred.sigma_min` must be one number above 0"):
        single(tmp_path, wrong)


def test_playground_by_its_marks(tmp_path):
    marks = {name: np.ones(4, "float32") for name in ("edm_mean", "edm_std")}
    model = single(tmp_path, marks)
    noise = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}
    assert (model.prediction, model.noise, model.guidance) == ("edm", noise, 3.0)
    assert model.schedule_for("euler") == "karras"
    config = model.autoencoder_config
    assert (config.scaling_factor, config.latents_std[0]) == (0.5, 8.4927)
    assert config.latents_mean == (-1.6574, 1.886, -1.383, 2.5155)
    assert model.preview_factors is None


def single(folder, marks):
    file = folder / "model.safetensors"
    write_safetensors(file, tiny_models.to_compvis("xl") | marks)
    return open_model(file)
