"""Checkpoints with random weights: read by Sfumato and by diffusers, to the same network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, UNet2DConditionModel

from benchmarks.models import MODELS, RandomTensors, checkpoint
from sfumato import StableDiffusion
from sfumato.checkpoints.save import file_shapes
from sfumato.networks.unet import UNet


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmarks")


@pytest.mark.parametrize("name", ["tiny", "tiny-xl"])
def test_sfumato_and_diffusers_read_it(name: str, cache: Path) -> None:
    folder = checkpoint(name, cache)
    pipe = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    ours = StableDiffusion(64, 64, preset=str(folder))
    text = ours.encode_text("a red apple")
    (theirs, *_) = pipe.encode_prompt(
        "a red apple", device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    np.testing.assert_allclose(text, theirs.detach().numpy(), atol=1e-4)
    assert ours.diffusion_model.count_params() == sum(p.numel() for p in pipe.unet.parameters())
    assert pipe.tokenizer.pad_token == MODELS[name].pads[0]


@pytest.mark.parametrize("name", ["sd1.5", "sdxl", "bk-sdm-tiny"])
def test_true_shapes(name: str) -> None:
    """Of the published architectures, as diffusers builds them without values."""
    heads = {"sd1.5": 8, "sdxl": [5, 10, 20], "bk-sdm-tiny": 8}[name]
    settings = {"sd1.5": SD15, "sdxl": SDXL, "bk-sdm-tiny": BK_SDM_TINY}[name]
    with torch.device("meta"):
        theirs = UNet2DConditionModel(attention_head_dim=heads, **settings)
    shapes = {key: tuple(value.shape) for key, value in theirs.state_dict().items()}
    assert file_shapes(UNet(MODELS[name].unet, "float16")) == shapes


def test_it_is_written_once(cache: Path) -> None:
    folder = checkpoint("tiny", cache)
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    before = file.stat().st_mtime_ns
    assert checkpoint("tiny", cache) == folder
    assert file.stat().st_mtime_ns == before
    assert not list(cache.glob(".tiny-*"))


def test_values_keep_activations_near_one() -> None:
    tensors = RandomTensors({"a.weight": (64, 400), "norm.weight": (8,), "norm.bias": (8,)})
    outputs = tensors["a.weight"].astype("float32") @ np.ones(400, "float32")
    assert 0.3 < outputs.std() < 1.5
    assert (tensors["norm.weight"] == 1).all()
    assert (tensors["norm.bias"] == 0).all()


SD15 = {"cross_attention_dim": 768}
SDXL = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
BK_SDM_TINY = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3,
    "mid_block_type": None,
    "up_block_types": ("CrossAttnUpBlock2D",) * 3,
    "layers_per_block": 1,
    "cross_attention_dim": 768,
}
