"""The files of XL's refiner, whose one text encoder is the second one of XL."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny_models

from sfumato.checkpoints import CheckpointError, open_model, save_diffusers
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.checkpoints.save import export
from sfumato.networks.unet import UNet

CONFIG = replace(tiny_models.UNETS["xl"], context_width=128, added_width=32 + 5 * 256, sizes=5)


def unet() -> UNet:
    network = UNet(CONFIG)
    network.initialize(0)
    return network


def test_a_single_file(tmp_path):
    tensors = tiny_models.to_compvis("xl")
    file = {name: x for name, x in tensors.items() if name.startswith("first_stage_model.")}
    for name, x in export([unet()]).items():
        file["model.diffusion_model." + tiny_models._unet_name(name, CONFIG)] = x
    text = tiny_models.weights("xl")["text_encoder_2"]
    for name, x in tiny_models.to_openclip(text).items():
        file[f"conditioner.embedders.0.model.{name}"] = x
    write_safetensors(tmp_path / "model.safetensors", file)

    model = open_model(tmp_path / "model.safetensors")
    assert (model.family.name, model.pad_tokens) == ("XL refiner", (0,))
    assert model.checkpoint.unet_config() == CONFIG
    config = model.checkpoint.text_encoder_config()
    assert config == replace(tiny_models.TEXTS["xl"][1], end_of_text=config.end_of_text)
    assert model.text_encoder_2() is None
    found = model.checkpoint.parts["text_encoder"]
    assert found.keys() == text.keys()
    for name, x in text.items():
        np.testing.assert_array_equal(found[name], x)


def test_what_a_folder_says_of_it_must_be_so(tmp_path):
    parts = tiny_models.networks("xl")
    parts = {"unet": unet(), "vae": parts["vae"], "text_encoder_2": parts["text_encoder_2"]}
    save_diffusers(tmp_path, parts)
    model = open_model(tmp_path)
    assert model.sizes(64, 48) == (64, 48, 0, 0, 6.0)
    assert model.sizes(64, 48, negative=True) == (64, 48, 0, 0, 2.5)
    index = tmp_path / "model_index.json"
    said = json.loads(index.read_text())
    for score in (True, False):
        index.write_text(json.dumps(said | {"requires_aesthetics_score": score}))
        if score:
            open_model(tmp_path)
        else:
            with pytest.raises(CheckpointError, match="`requires_aesthetics_score` must be True"):
                open_model(tmp_path)


def test_a_unet_by_itself_is_known_by_its_text(tmp_path):
    config = replace(CONFIG, context_width=1280, added_width=2560)
    network = UNet(config)
    network.initialize(0)
    save_diffusers(tmp_path, {"unet": network})
    assert open_model(tmp_path).family.name == "XL refiner"
