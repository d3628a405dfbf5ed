"""IP-Adapters and the encoder of pictures, against diffusers and transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import references
import torch
from keras import ops
from transformers import CLIPImageProcessorPil

import small_ip_adapters
from sfumato.adapters.ip_adapter import read_ip_adapter
from sfumato.checkpoints.architecture import unet_config
from sfumato.checkpoints.filling import fill
from sfumato.checkpoints.vision import read_vision
from sfumato.networks.ip_adapter import IPAdapter
from sfumato.networks.vision import VisionEncoder
from sfumato.pictures.clip import as_seen


@pytest.mark.parametrize("shape", [(300, 200), (224, 224), (57, 401), (1000, 333), (30, 20)])
@pytest.mark.parametrize("size", [224, 28])
def test_what_an_encoder_sees(shape: tuple[int, int], size: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype("uint8")
    processor = CLIPImageProcessorPil(size=size, crop_size=size)
    expected = processor(pixels, return_tensors="np").pixel_values
    assert np.abs(as_seen(pixels, size).transpose(0, 3, 1, 2) - expected).max() < 1e-6


def test_a_strip_is_seen_without_a_huge_picture() -> None:
    assert as_seen(np.zeros((1, 100_000, 3), "uint8"), 224).shape == (1, 224, 224, 3)


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_the_encoder(activation: str, tmp_path: Path) -> None:
    theirs = small_ip_adapters.encoder(activation)
    theirs.save_pretrained(tmp_path)
    config, tensors = read_vision(tmp_path)
    ours = VisionEncoder(config)
    fill(ours, tensors)
    x = np.random.default_rng(1).standard_normal((2, 28, 28, 3)).astype("float32")
    with torch.no_grad():
        expected = theirs(
            torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), output_hidden_states=True
        )
    for got, wanted in (
        (ours(x), expected.image_embeds[:, None]),
        (ours(x, patches=True), expected.hidden_states[-2]),
    ):
        assert np.abs(ops.convert_to_numpy(got) - wanted.numpy()).max() < 1e-4
        assert wanted.std() > 0.1


@pytest.mark.parametrize("family", ["1.x", "xl"])
@pytest.mark.parametrize("kind", ["base", "full", "plus"])
def test_projection_and_memories(kind: str, family: str, tmp_path: Path) -> None:
    theirs = references.unet(family)
    file = small_ip_adapters.save(theirs, kind, tmp_path)
    base = unet_config(
        {name: tuple(t.shape) for name, t in theirs.state_dict().items()}, dict(theirs.config)
    )
    config, tensors = read_ip_adapter(file, base)
    ours = IPAdapter(config)
    fill(ours, tensors)

    theirs._load_ip_adapter_weights(small_ip_adapters.adapter(theirs, kind))
    width = small_ip_adapters.PROJECTION if kind == "base" else small_ip_adapters.WIDTH
    x = np.random.default_rng(1).standard_normal((2, 1 if kind == "base" else 5, width))
    given = torch.from_numpy(x.astype("float32"))
    with torch.no_grad():
        [projection] = theirs.encoder_hid_proj.image_projection_layers
        expected = projection(given[:, 0] if kind == "base" else given)
        memories = {
            name: [getattr(p, leaf)[0](expected).numpy() for leaf in ("to_k_ip", "to_v_ip")]
            for name, p in theirs.attn_processors.items()
            if "attn2" in name
        }
    got = ops.convert_to_numpy(ours(x.astype("float32")))
    assert np.abs(got - expected.numpy()).max() < 1e-4

    order = [
        f"{p.name}.transformer_blocks.{i}.attn2.processor"
        for p in base.parts()
        for i in range(p.depth)
    ]
    remembered = ours.remember(x.astype("float32"))
    assert len(remembered) == len(order) == len(memories)
    for name, memory in zip(order, remembered, strict=True):
        for ours_, wanted in zip(memory[:2], memories[name], strict=True):
            array = ops.convert_to_numpy(ours_)
            assert np.abs(array.reshape(wanted.shape) - wanted).max() < 1e-4
