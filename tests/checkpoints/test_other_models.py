"""Models of other make are refused by their name, wherever it shows."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_models

from sfumato.checkpoints import CheckpointError, open_checkpoint, save_diffusers
from sfumato.checkpoints.safetensors import write_safetensors

UNET = "model.diffusion_model."


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (UNET + "joint_blocks.0.context_block.attn.qkv.weight", "Stable Diffusion 3, Flux"),
        (UNET + "double_blocks.0.img_attn.qkv.weight", "Stable Diffusion 3, Flux"),
        ("single_transformer_blocks.0.attn.to_q.weight", "Stable Diffusion 3, Flux"),
        ("blocks.0.attn.qkv.weight", "PixArt"),
        (UNET + "clip_txt_mapper.weight", "Stable Cascade"),
        ("effnet_mapper.0.weight", "Stable Cascade"),
        ("embedder.model.visual.class_embedding", "unCLIP"),
        ("depth_model.model.pretrained.cls_token", "depth2img"),
        (UNET + "input_blocks.1.0.time_stack.in_layers.0.weight", "Video"),
        (UNET + "label_emb.weight", "an upscaler"),
    ],
)
def test_a_single_file(tmp_path, name, what):
    file = tmp_path / "model.safetensors"
    write_safetensors(file, tiny_models.to_compvis("2.x") | {name: np.zeros(3, "float32")})
    with pytest.raises(CheckpointError, match=f"holds .*{what}.* not a model of 1.x, 2.x or XL"):
        open_checkpoint(file)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("StableUnCLIPPipeline", "unCLIP, which paints from"),
        ("StableDiffusionUpscalePipeline", "an upscaler"),
        ("StableDiffusionDepth2ImgPipeline", "depth map"),
        ("StableDiffusionImageVariationPipeline", "varies pictures"),
        ("StableVideoDiffusionPipeline", "films"),
        ("AnimateDiffPipeline", "films"),
        ("KolorsPipeline", "Kolors"),
        ("KandinskyV22Pipeline", "Kandinsky"),
        ("IFPipeline", "IFPipeline"),
    ],
)
def test_a_folder_whose_unet_looks_like_ours(tmp_path, name, what):
    save_diffusers(tmp_path, tiny_models.networks("2.x"))
    index = tmp_path / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": name}))
    with pytest.raises(CheckpointError, match=f"is a {name}.*{what}|is a {name}, not a model"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("StableDiffusion3Pipeline", "transformer"),
        ("FluxPipeline", "transformer"),
        ("PixArtSigmaPipeline", "transformer"),
        ("StableCascadeDecoderPipeline", "decoder"),
    ],
)
def test_a_folder_without_a_unet(tmp_path, name, part):
    (tmp_path / part).mkdir()
    index = {"_class_name": name, part: ["diffusers", "Model"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=f"is a {name}, not a model of 1.x, 2.x or XL"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "StableDiffusionPipeline",
        "StableDiffusionInpaintPipeline",
        "StableDiffusionInstructPix2PixPipeline",
        "LatentConsistencyModelPipeline",
        "SomeonesOwnPipeline",
    ],
)
def test_pipelines_of_ours_are_open(tmp_path, name):
    save_diffusers(tmp_path, tiny_models.networks("1.x"))
    index = tmp_path / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": name}))
    assert open_checkpoint(tmp_path).family.name == "1.x"
