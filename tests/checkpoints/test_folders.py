"""Folders that diffusers and transformers write themselves, whole, divided and in variants."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sfumato.checkpoints import CheckpointError, fill, open_checkpoint
from sfumato.checkpoints.folders import choose, native
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet

TEXT = CLIPTextConfig(
    vocab_size=49408,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    projection_dim=16,
    bos_token_id=49406,
    eos_token_id=49407,
)


@pytest.fixture(scope="module")
def models() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    return {
        "unet": UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(32, 64),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=64,
            attention_head_dim=4,
            norm_num_groups=16,
        ),
        "vae": AutoencoderKL(
            block_out_channels=(32, 64),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=16,
            scaling_factor=0.5,
        ),
        "text_encoder": CLIPTextModel(TEXT),
        "text_encoder_2": CLIPTextModelWithProjection(TEXT),
    }


@pytest.fixture
def folder(models, tmp_path):
    for part, model in models.items():
        model.save_pretrained(tmp_path / part)
    (tmp_path / "scheduler").mkdir()
    settings = {"prediction_type": "v_prediction", "beta_start": 0.001}
    (tmp_path / "scheduler/scheduler_config.json").write_text(json.dumps(settings))
    (tmp_path / "model_index.json").write_text("{}")
    return tmp_path


def test_every_part_is_what_was_saved(folder, models):
    checkpoint = open_checkpoint(folder)
    assert checkpoint.prediction == "v_prediction"
    parts = dict(checkpoint.parts)
    parts["vae"] = parts.pop("image_encoder") | parts.pop("decoder")
    for part, model in models.items():
        state = {name.removeprefix("text_model."): t for name, t in model.state_dict().items()}
        spare = {name for name in state if name.endswith("position_ids")}
        assert parts[part].keys() == state.keys() - spare
        for name, tensor in parts[part].items():
            np.testing.assert_array_equal(tensor, state[name].numpy(), name)


def test_networks_made_from_the_folder_take_all_of_it(folder):
    checkpoint = open_checkpoint(folder)
    c = checkpoint.unet_config()
    assert (c.heads, c.groups, checkpoint.autoencoder_config().scaling_factor) == ((4, 4), 16, 0.5)
    text = checkpoint.text_encoder_config("text_encoder_2")
    assert (text.projection, text.heads, text.penultimate) == (16, 4, True)
    for network, part in (
        (UNet(c), "unet"),
        (ImageEncoder(checkpoint.autoencoder_config()), "image_encoder"),
        (ImageDecoder(checkpoint.autoencoder_config()), "decoder"),
        (TextEncoder(checkpoint.text_encoder_config()), "text_encoder"),
        (TextEncoder(text), "text_encoder_2"),
    ):
        fill(network, checkpoint.parts[part])


def test_divided_files(folder, models):
    shutil.rmtree(folder / "unet")
    models["unet"].save_pretrained(folder / "unet", max_shard_size="1MB")
    shutil.rmtree(folder / "text_encoder")
    models["text_encoder"].save_pretrained(folder / "text_encoder", max_shard_size="5MB")
    pieces = sorted((folder / "unet").glob("*-of-*.safetensors"))
    assert len(pieces) > 2
    parts = open_checkpoint(folder).parts
    state = models["unet"].state_dict()
    assert parts["unet"].keys() == state.keys()
    np.testing.assert_array_equal(parts["unet"]["conv_in.weight"], state["conv_in.weight"].numpy())
    pieces[1].unlink()
    with pytest.raises(CheckpointError, match=r"index\.json` names"):
        open_checkpoint(folder)


def test_a_tensor_in_two_pieces_is_refused(folder, models):
    models["unet"].save_pretrained(folder / "unet", max_shard_size="1MB")
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    first, second, *_ = sorted((folder / "unet").glob("*-of-*.safetensors"))
    shutil.copy(first, second)
    with pytest.raises(CheckpointError, match="twice"):
        open_checkpoint(folder)


def test_variants(folder, models):
    models["unet"].half().save_pretrained(folder / "unet", variant="fp16")
    models["unet"].float()
    for variant, dtype in ((None, "float32"), ("fp16", "float16"), ("other", "float32")):
        assert open_checkpoint(folder, variant).parts["unet"]["conv_in.weight"].dtype == dtype
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    assert open_checkpoint(folder).parts["unet"]["conv_in.weight"].dtype == "float16"


def test_pickles_only_where_there_is_nothing_else(folder, models):
    models["unet"].save_pretrained(folder / "unet", safe_serialization=False)
    assert (folder / "unet/diffusion_pytorch_model.bin").is_file()
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    found = open_checkpoint(folder).parts["unet"]
    assert found.keys() == models["unet"].state_dict().keys()


@pytest.mark.parametrize(
    ("names", "variant", "chosen"),
    [
        (["model.safetensors", "pytorch_model.bin", "config.json"], None, ["model.safetensors"]),
        (["model.fp16.safetensors", "model.safetensors"], None, ["model.safetensors"]),
        (["model.fp16.safetensors", "model.safetensors"], "fp16", ["model.fp16.safetensors"]),
        (["pytorch_model.fp16.bin", "model.safetensors"], "fp16", ["model.safetensors"]),
        (
            ["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"],
            "fp16",
            ["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"],
        ),
        (
            ["model-00001-of-00001.fp16.safetensors", "model.safetensors"],
            "fp16",
            ["model-00001-of-00001.fp16.safetensors"],
        ),
        (
            [
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors",
            ],
            None,
            ["model.safetensors"],
        ),
        (["unet/diffusion_pytorch_model.non_ema.safetensors"], None, None),
        (["model.onnx", "flax_model.msgpack", "openvino_model.bin"], None, []),
    ],
)
def test_choose(names, variant, chosen):
    assert choose(names, variant) == (names if chosen is None else chosen)


def test_names_of_older_versions():
    old = "decoder.mid_block.attentions.0.{}.weight"
    tensors = {old.format(n): np.zeros(1) for n in ("query", "key", "value", "proj_attn")}
    assert list(native("vae", tensors)) == [
        old.format(n) for n in ("to_q", "to_k", "to_v", "to_out.0")
    ]


def test_damaged_settings_are_named(folder):
    for text, message in (
        ("{", "must be JSON"),
        ("[1]", "JSON object"),
        ("[" * 99999, "must be JSON"),
        (" " * (2**20 + 1), "must have at most 1048576 bytes"),
    ):
        (folder / "unet/config.json").write_text(text)
        with pytest.raises(CheckpointError, match=message):
            open_checkpoint(folder)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="must name a file or folder"):
        open_checkpoint(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="with 0 such files"):
        open_checkpoint(tmp_path)
    (tmp_path / "unet").mkdir()
    with pytest.raises(CheckpointError, match="holds no weights"):
        open_checkpoint(tmp_path)
    (tmp_path / "x.onnx").write_bytes(b"\x08\x07\x12")
    with pytest.raises(CheckpointError, match="must end in"):
        open_checkpoint(tmp_path / "x.onnx")


def test_a_single_part_as_a_file(folder):
    for part, found in (("unet", ["unet"]), ("vae", ["image_encoder", "decoder"])):
        file = folder / part / "diffusion_pytorch_model.safetensors"
        assert list(open_checkpoint(file).parts) == found
    assert list(open_checkpoint(folder / "text_encoder/model.safetensors").parts) == [
        "text_encoder"
    ]
    write_safetensors(folder / "x.safetensors", {"lora.up": np.zeros(3)})
    with pytest.raises(CheckpointError, match=r"no network.*lora\.up"):
        open_checkpoint(folder / "x.safetensors")
    with pytest.raises(CheckpointError, match="holds no decoder. It holds: unet"):
        open_checkpoint(folder / "unet/diffusion_pytorch_model.safetensors").shapes("decoder")
