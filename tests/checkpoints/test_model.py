"""What a model says of itself, from its files, its preset, or its architecture."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from keras import ops

from sfumato.checkpoints import Checkpoint, CheckpointError, Model, open_model, save_diffusers
from sfumato.checkpoints.safetensors import read_safetensors, write_safetensors
from sfumato.checkpoints.save import file_shapes
from sfumato.diffusion.schedules import training_sigmas
from sfumato.networks.autoencoder import ImageDecoder
from sfumato.networks.configs import AutoencoderConfig
from sfumato.networks.unet import UNet


@pytest.fixture
def single(tmp_path):
    def write(family: str):
        path = tmp_path / "model.safetensors"
        write_safetensors(path, tiny_models.to_compvis(family))
        return path

    return write


@pytest.mark.parametrize(
    ("family", "size", "pad", "zeros", "scaling"),
    [
        ("1.x", 512, (49407,), False, 0.18215),
        ("2.x", 512, (0,), False, 0.18215),
        ("xl", 1024, (49407, 0), True, 0.13025),
    ],
)
def test_a_single_file(single, family, size, pad, zeros, scaling):
    model = open_model(single(family), prediction="epsilon" if family == "2.x" else None)
    assert model.family.name.casefold() == family
    assert (model.name, model.sees_masks) == ("model.safetensors", False)
    assert model.preview_factors is None  # of another autoencoder than the family's
    assert (model.default_size, model.pad_tokens, model.zero_negative) == (size, pad, zeros)
    assert model.autoencoder_config.scaling_factor == scaling
    assert (model.steps, model.guidance, model.sampler) == (25, 7.5, "dpmpp_2m")
    assert (model.prediction, model.noise) == ("epsilon", {})
    assert (model.text_encoder_2() is None) == (family != "xl")


def test_the_user_says_what_a_file_of_2_does_not(single):
    model = open_model(single("2.x"), prediction="v_prediction")
    assert (model.prediction, model.default_size) == ("v_prediction", 768)


@pytest.mark.parametrize(("spread", "prediction"), [(0.2, "v_prediction"), (0.05, "epsilon")])
def test_where_nobody_says_the_prediction_the_weights_are_looked_at(single, spread, prediction):
    """ComfyUI's measure: above 0.09 it is the velocity."""
    path = single("2.x")
    tensors = {name: np.array(tensor) for name, tensor in read_safetensors(path).items()}
    name = "model.diffusion_model.output_blocks.5.1.transformer_blocks.0.norm1.bias"
    tensors[name][:] = np.linspace(-1, 1, tensors[name].size) * spread * np.sqrt(3)
    write_safetensors(path, tensors)
    with pytest.warns(
        UserWarning, match=rf"does not say .* predicts. .* {prediction}.*--prediction"
    ):
        assert open_model(path).prediction == prediction
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for said in ("epsilon", "v_prediction"):
            assert open_model(path, prediction=said).prediction == said


def test_a_folder(tmp_path):
    noise = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    save_diffusers(tmp_path, tiny_models.networks("2.x"), noise, size=48)
    model = open_model(tmp_path)
    assert (model.prediction, model.default_size, model.pad_tokens) == ("v_prediction", 48, (0,))
    assert training_sigmas(**model.noise)[-1] == pytest.approx(4096, rel=1e-3)


def test_every_word_of_a_tokenizer_has_an_embedding(single):
    model = open_model(single("1.x"))  # with 20 embeddings
    model.check_words("text_encoder", 20)
    with pytest.raises(CheckpointError, match="20 embeddings in text_encoder and 49408 tokens"):
        model.check_words("text_encoder", 49408)
    with pytest.warns(UserWarning, match="20 embeddings in text_encoder and 19 tokens"):
        model.check_words("text_encoder", 19)


def test_every_network_is_made_with_its_values(single):
    model = open_model(single("xl"))
    made = {
        "unet": model.unet("float16"),
        "text_encoder": model.text_encoder("float32"),
        "text_encoder_2": model.text_encoder_2("float32"),
        "decoder": model.decoder("float32"),
        "image_encoder": model.image_encoder("float32"),
    }
    for name, network in made.items():
        assert all(np.isfinite(ops.convert_to_numpy(v.value)).all() for v in network.variables)
        if name != "unet":
            assert network.name == name
    assert made["unet"].variables[0].dtype == "float16"


def test_a_single_file_of_zero_terminal_snr(tmp_path):
    path = tmp_path / "model.safetensors"
    write_safetensors(path, tiny_models.to_compvis("xl") | {"ztsnr": np.zeros(0, "float32")})
    model = open_model(path)
    assert model.noise == {"zero_terminal_snr": True}
    assert model.schedule_for("euler") == "trailing"


def test_a_folder_of_no_preset_prefers_no_variant(tmp_path):
    save_diffusers(tmp_path, tiny_models.networks("1.x"), dtype="float16")
    for file in list(tmp_path.rglob("*.safetensors")):
        file.rename(file.with_suffix(".fp16.safetensors"))
    save_diffusers(tmp_path, tiny_models.networks("1.x"), dtype="float32")
    assert open_model(tmp_path).checkpoint.parts["unet"]["conv_in.weight"].dtype == "float32"


def test_a_name_says_no_more_of_a_path_than_its_last_part(tmp_path):
    for name in ("mine", "mini"):
        save_diffusers(tmp_path / name, tiny_models.networks("1.x"))
    assert open_model(tmp_path / "mine").name == "mine"
    assert open_model(tmp_path / "mini").name == "./mini"
    assert [open_model(name).name for name in ("mini", "Mini-Turbo")] == ["mini", "Mini-Turbo"]


def test_a_model_for_inpainting_sees_masks(tmp_path):
    config = replace(tiny_models.UNETS["1.x"], in_channels=9)
    unet = UNet(config)
    unet.initialize(0)
    save_diffusers(tmp_path, {**tiny_models.networks("1.x"), "unet": unet})
    assert open_model(tmp_path).sees_masks


def test_the_familys_autoencoder_has_a_preview():
    shapes = file_shapes(ImageDecoder(AutoencoderConfig(), "float16"))
    tensors = {name: np.broadcast_to(np.float16(0), shape) for name, shape in shapes.items()}
    files = {"decoder": tensors, "text_encoder_2": {}}
    for parts, family in ((files, "XL"), ({"decoder": tensors}, "1.x")):
        model = Model(Checkpoint(Path(), parts))
        assert model.family.name == family
        np.testing.assert_allclose(model.preview_factors, model.family.preview_factors)


def test_the_width_of_the_size_embedding(tmp_path):
    config = replace(tiny_models.UNETS["xl"], added_width=32 + 6 * 16, size_embedding=16)
    unet = UNet(config)
    unet.initialize(0)
    save_diffusers(tmp_path, {**tiny_models.networks("xl"), "unet": unet})
    assert open_model(tmp_path).checkpoint.unet_config() == config
    settings = tmp_path / "unet/config.json"
    changed = json.loads(settings.read_text()) | {"addition_time_embed_dim": 8}
    settings.write_text(json.dumps(changed))
    with pytest.raises(CheckpointError, match=r"must take 80 numbers.*each as 8.*It takes 128"):
        open_model(tmp_path).unet()


def test_a_file_by_the_name_of_a_preset_is_used_as_it_says(tmp_path) -> None:
    """One step of Lightning predicts the picture, of which the file says nothing."""
    file = tmp_path / "sdxl_lightning_1step_x0.safetensors"
    write_safetensors(file, tiny_models.to_compvis("xl"))
    model = open_model(file)
    assert (model.steps, model.sampler, model.guidance) == (1, "euler", 1.0)
    assert (model.prediction, model.schedule_for(None)) == ("sample", "trailing")
    assert model.name == file.name
    other = open_model(file.rename(tmp_path / "other.safetensors"))
    assert (other.steps, other.prediction) == (25, "epsilon")
