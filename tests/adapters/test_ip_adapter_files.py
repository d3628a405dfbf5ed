"""Files of IP-Adapters and of the encoders that see for them: dialects, kinds, hostile ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

import small_ip_adapters
from sfumato.adapters.ip_adapter import _numbered, find_encoder, read_ip_adapter
from sfumato.checkpoints.architecture import unet_config
from sfumato.checkpoints.filling import fill
from sfumato.checkpoints.tensors import CheckpointError
from sfumato.checkpoints.vision import read_vision
from sfumato.networks.configs import UNetConfig
from sfumato.networks.ip_adapter import IPAdapter
from sfumato.networks.vision import VisionEncoder

Groups = dict[str, dict[str, torch.Tensor]]
XL = UNetConfig(
    channels=(320, 640, 1280),
    down=((0, 0), (2, 2), (10, 10)),
    mid=(10, 0),
    up=((10, 10, 10), (2, 2, 2), (0, 0, 0)),
    heads=(5, 10, 20),
    context_width=2048,
    added_width=2816,
)


unet = cache(small_ip_adapters.unet)


@cache
def base() -> UNetConfig:
    shapes = {name: tuple(t.shape) for name, t in unet().state_dict().items()}
    return unet_config(shapes, dict(unet().config))


def save(groups: Groups, file: Path) -> Path:
    flat = {f"{g}.{n}": t.contiguous() for g, inner in groups.items() for n, t in inner.items()}
    save_file(flat, file)
    return file


def loaded(file: Path) -> IPAdapter:
    config, tensors = read_ip_adapter(file, base())
    network = IPAdapter(config)
    fill(network, tensors)
    return network


def test_the_numbers_of_published_files() -> None:
    """1.x and XL, as their authors counted: down, up, then the middle; odd ones."""
    of_1x = [number for number, *_ in _numbered(UNetConfig()).values()]
    assert of_1x == [*range(1, 12, 2), 31, *range(13, 30, 2)]  # as the data passes them
    of_xl = [number for number, *_ in _numbered(XL).values()]
    assert of_xl == [*range(1, 48, 2), *range(121, 140, 2), *range(49, 120, 2)]
    assert _numbered(XL)["mid_block.attentions.0.transformer_blocks.0.attn2"] == (121, 1280, 20)


@pytest.mark.parametrize("kind", ["base", "full", "plus"])
def test_dialects_are_one(kind: str, tmp_path: Path) -> None:
    groups = small_ip_adapters.adapter(unet(), kind)
    config, wanted = read_ip_adapter(save(groups, tmp_path / "a.safetensors"), base())
    fill(IPAdapter(config), wanted)  # every tensor once
    assert config.kind == kind

    torch.save(groups, tmp_path / "b.bin")
    other = UNet2DConditionModel.from_config(unet().config)
    other._load_ip_adapter_weights(groups)
    names = ("encoder_hid_proj.", "to_k_ip", "to_v_ip")
    state = {k: t for k, t in other.state_dict().items() if any(n in k for n in names)}
    save_file({k: t.contiguous() for k, t in state.items()}, tmp_path / "c.safetensors")
    for file in ("b.bin", "c.safetensors"):
        got_config, got = read_ip_adapter(tmp_path / file, base())
        assert got_config == config
        assert got.keys() == wanted.keys()
        assert all(np.array_equal(got[name], wanted[name]) for name in wanted)


def faces(groups: Groups) -> None:
    groups["image_proj"] = {
        "proj.0.weight": torch.zeros(1024, 512),
        "proj.2.weight": torch.zeros(4 * 32, 1024),
        "norm.weight": torch.zeros(32),
    }


def faces_with_lora(groups: Groups) -> None:
    groups["ip_adapter"]["0.to_q_lora.down.weight"] = torch.zeros(4, 16)


def faces_and_patches(groups: Groups) -> None:
    groups["image_proj"]["perceiver_resampler.proj_in.weight"] = torch.zeros(4, 4)


def instant_id(groups: Groups) -> None:
    groups["image_proj"] |= {"proj_in.weight": torch.zeros(48, 512)}


def of_xl(groups: Groups) -> None:
    groups["image_proj"] |= {
        "proj_out.weight": torch.zeros(2048, 48),
        "norm_out.weight": torch.zeros(2048),
    }


def lacks(groups: Groups) -> None:
    del groups["ip_adapter"]["1.to_v_ip.weight"], groups["image_proj"]["norm_out.bias"]


def unknown(groups: Groups) -> None:
    groups["ip_adapter"]["99.to_k_ip.weight"] = torch.zeros(2, 2)
    groups["image_proj"]["colour"] = torch.zeros(2)


def misshapen(groups: Groups) -> None:
    groups["ip_adapter"]["1.to_k_ip.weight"] = torch.zeros(7, 32)


def no_vectors(groups: Groups) -> None:
    groups["image_proj"]["latents"] = torch.zeros(1, 0, 48)


def no_matrix(groups: Groups) -> None:
    groups["image_proj"]["proj_in.weight"] = torch.zeros(5)


def without_resampler(groups: Groups) -> None:
    groups["image_proj"] = {"latents": torch.zeros(1, 4, 48)}


def no_adapter(groups: Groups) -> None:
    groups.clear()
    groups["control_model"] = {"input_hint_block.0.weight": torch.zeros(2)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (faces, "holds an IP-Adapter FaceID, which cannot be used"),
        (faces_with_lora, "holds an IP-Adapter FaceID, which cannot be used"),
        (faces_and_patches, "holds an IP-Adapter FaceID, which cannot be used"),
        (instant_id, "holds an adapter of faces, such as InstantID"),
        (of_xl, "is made for models of the kind XL, and the model is"),
        (lacks, r"missing: image_proj.norm_out.bias, ip_adapter.1.to_v_ip.weight"),
        (unknown, r"unexpected: image_proj.colour, ip_adapter.99.to_k_ip.weight"),
        (misshapen, r"misshapen: ip_adapter.1.to_k_ip.weight \(7, 32\) instead of \(16, 32\)"),
        (no_vectors, "is no sound IP-Adapter: its resampler has 2 heads and 0 vectors"),
        (no_matrix, "is no sound IP-Adapter"),
        (without_resampler, "lacks `image_proj.proj_in.weight`"),
        (no_adapter, "holds a ControlNet, which cannot be used as an IP-Adapter"),
    ],
)
def test_what_cannot_be(change: Callable[[Groups], None], words: str, tmp_path: Path) -> None:
    groups = small_ip_adapters.adapter(unet(), "plus")
    change(groups)
    file = save(groups, tmp_path / "ip.safetensors")
    with pytest.raises(CheckpointError, match=words):
        loaded(file)


def test_damaged_and_dangerous_files(tmp_path: Path) -> None:
    file = save(small_ip_adapters.adapter(unet(), "base"), tmp_path / "ip.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="is not a sound safetensors file"):
        read_ip_adapter(file, base())
    torch.save({"image_proj": {"proj.weight": Path("x")}}, tmp_path / "ip.bin")
    with pytest.raises(CheckpointError, match="without running code"):
        read_ip_adapter(tmp_path / "ip.bin", base())
    torch.save({"image_proj": {"proj.weight": "text"}}, tmp_path / "ip.bin")
    with pytest.raises(CheckpointError, match="`image_proj.proj.weight`, which is no tensor"):
        read_ip_adapter(tmp_path / "ip.bin", base())
    with pytest.raises(CheckpointError, match="must end in .safetensors, "):
        read_ip_adapter(tmp_path / "ip.gguf", base())


def test_the_encoder_near_the_file_that_fits(tmp_path: Path) -> None:
    """As the published folder has them: XL's own, and that of 1.x for `vit-h`."""
    file = small_ip_adapters.save(unet(), "plus", tmp_path / "sdxl_models")
    config, _ = read_ip_adapter(file, base())
    for each in (file.parent / "image_encoder").iterdir():
        each.unlink()
    (file.parent / "image_encoder").rmdir()
    with pytest.raises(CheckpointError, match="image_encoder` must be the encoder.*Received: none"):
        find_encoder(file, config)

    small_ip_adapters.encoder(width=56).save_pretrained(file.parent / "image_encoder")
    with pytest.raises(CheckpointError, match=r"of width 40. Received: `.*` with 56"):
        find_encoder(file, config)
    small_ip_adapters.encoder().save_pretrained(tmp_path / "models/image_encoder")
    assert find_encoder(file, config)[1].config.width == 40
    with pytest.raises(CheckpointError, match=r"`encoder` must be the encoder.*width 40"):
        find_encoder(file, config, str(file.parent / "image_encoder"))


def test_encoders_that_cannot_be(tmp_path: Path) -> None:
    theirs = small_ip_adapters.encoder()
    state = {k: t.contiguous() for k, t in theirs.state_dict().items()}

    def read(changes: dict[str, Any], file: str = "vision.safetensors") -> Any:
        kept = {k: t for k, t in (state | changes).items() if t is not None}
        save_file(kept, tmp_path / file)
        config, tensors = read_vision(tmp_path / file)
        fill(VisionEncoder(config), tensors)
        return config

    assert read({}).heads == 1  # without a config.json: heads as wide as most are
    stem = "vision_model.embeddings."
    for changes, words in (
        ({f"{stem}class_embedding": None}, "must hold an encoder of pictures"),
        ({f"{stem}patch_embedding.weight": torch.zeros(4)}, "must have 4 axes"),
        ({f"{stem}position_embedding.weight": torch.zeros(0, 40)}, "must have pictures"),
        (
            {f"{stem}position_embedding.weight": torch.zeros(7, 40)},
            "misshapen: .*position_embedding",
        ),
        ({"vision_model.taste": torch.zeros(2)}, "unexpected: taste"),
        ({"visual_projection.weight": None}, "lacks `visual_projection.weight`"),
    ):
        with pytest.raises(CheckpointError, match=words):
            read(changes)

    theirs.config.num_hidden_layers = 2
    theirs.config.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="`num_hidden_layers` must be 3"):
        read({}, "model.safetensors")
    theirs.config.hidden_act = "relu"
    theirs.config.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="`hidden_act` must be 'quick_gelu' or 'gelu'"):
        read({}, "model.safetensors")
