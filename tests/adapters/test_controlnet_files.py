"""ControlNets of every dialect: names, families, Control-LoRAs, and files that are none."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, ControlNetUnionModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from keras import ops

from sfumato import runtime
from sfumato.adapters.controlnet import read_controlnet
from sfumato.checkpoints import architecture, fill
from sfumato.checkpoints.compvis import unet_names
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.checkpoints.tensors import CheckpointError
from sfumato.networks.configs import UNetConfig
from sfumato.networks.controlnet import ControlNet

THREE: dict[str, Any] = {
    "block_out_channels": (16, 32, 32),
    "layers_per_block": 2,
    "norm_num_groups": 8,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
}
KINDS: dict[str, dict[str, Any]] = {
    "1.x": {**THREE, "cross_attention_dim": 768, "attention_head_dim": 4},
    "2.x": {
        **THREE,
        "cross_attention_dim": 1024,
        "attention_head_dim": (2, 4, 4),
        "use_linear_projection": True,
    },
    "XL": {
        **THREE,
        "cross_attention_dim": 2048,
        "attention_head_dim": (2, 4, 4),
        "use_linear_projection": True,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 1, 2),
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 32 + 6 * 256,
    },
}
Arrays = dict[str, np.ndarray]


def arrays(module: torch.nn.Module) -> Arrays:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


@functools.cache
def unet(kind: str) -> tuple[UNet2DConditionModel, UNetConfig]:
    torch.manual_seed(0)
    theirs = UNet2DConditionModel(**KINDS[kind])
    shapes = architecture.shapes_of(arrays(theirs))
    return theirs, architecture.unet_config(shapes, dict(theirs.config))


@functools.cache
def controlnet(kind: str) -> ControlNetModel:
    torch.manual_seed(1)
    widths = (4, 8, 12, 16)
    return ControlNetModel.from_unet(unet(kind)[0], conditioning_embedding_out_channels=widths)


def original(kind: str) -> Arrays:
    """The names of the ControlNet's authors."""
    names = {native: name for name, native in unet_names(unet(kind)[1]).items()}
    convs = ("conv_in", *(f"blocks.{i}" for i in range(6)), "conv_out")
    names |= {
        f"controlnet_cond_embedding.{n}": f"input_hint_block.{2 * i}" for i, n in enumerate(convs)
    }
    names |= {f"controlnet_down_blocks.{i}": f"zero_convs.{i}.0" for i in range(12)}
    names |= {"controlnet_mid_block": "middle_block_out.0"}
    found = {}
    for key, tensor in arrays(controlnet(kind)).items():
        stem, _, leaf = key.rpartition(".")
        found[f"{names[stem]}.{leaf}"] = tensor
    return found


def read(path: Path, kind: str) -> Any:
    theirs, config = unet(kind)
    return read_controlnet(path, config, arrays(theirs))


def write(path: Path, tensors: Arrays) -> Path:
    write_safetensors(path, {k: np.ascontiguousarray(v) for k, v in tensors.items()})
    return path


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[k].reshape(other[k].shape), other[k]) for k in other
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_diffusers(kind: str, tmp_path: Path) -> None:
    controlnet(kind).save_pretrained(tmp_path)
    found = read(tmp_path, kind)
    assert same(found.tensors, arrays(controlnet(kind)))
    assert found.config.hint_widths == (4, 8, 12, 16)
    assert found.config.heads == unet(kind)[1].heads
    fill(ControlNet(found.config), found.tensors)  # says what does not fit


@pytest.mark.parametrize("prefix", ["", "control_model."])
@pytest.mark.parametrize("kind", KINDS)
def test_original_names(kind: str, prefix: str, tmp_path: Path) -> None:
    tensors = original(kind)
    if kind == "1.x":  # diffusers knows these names and blocks of two layers
        converted = convert_controlnet_checkpoint(dict(tensors), controlnet(kind).config)
        assert same(converted, arrays(controlnet(kind)))
    named = {prefix + name: tensor for name, tensor in tensors.items()}
    rest = {"model.diffusion_model.out.2.bias": np.zeros(4, "float32")} if prefix else {}
    found = read(write(tmp_path / "a.safetensors", named | rest), kind)
    assert same(found.tensors, arrays(controlnet(kind)))


def test_a_pickle(tmp_path: Path) -> None:
    tensors = {f"control_model.{k}": torch.from_numpy(v) for k, v in original("1.x").items()}
    torch.save({"state_dict": tensors}, tmp_path / "control_v11f1e_sd15.pth")
    assert same(
        read(tmp_path / "control_v11f1e_sd15.pth", "1.x").tensors, arrays(controlnet("1.x"))
    )


def test_a_name_that_says_that_it_tells_no_places(tmp_path: Path) -> None:
    shuffle = write(tmp_path / "control_v11e_sd15_shuffle.safetensors", original("1.x"))
    assert read(shuffle, "1.x").config.is_global
    other = write(tmp_path / "control_v11p_sd15_canny.safetensors", original("1.x"))
    assert not read(other, "1.x").config.is_global


def test_a_control_lora(tmp_path: Path) -> None:
    """Layers have `up` and `down`, or are whole; what is missing is the model's."""
    base, random = arrays(unet("XL")[0]), np.random.default_rng(0)
    own = ("zero_convs", "input_hint", "middle_block_out")
    tensors = {name: x for name, x in original("XL").items() if name.startswith(own)}
    tensors |= {"lora_controlnet": np.zeros(1, "float32")}
    expected = {}
    names = {native: name for name, native in unet_names(unet("XL")[1]).items()}
    for native in ("conv_in", "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"):
        weight = base[f"{native}.weight"]
        up = random.standard_normal((len(weight), 3)).astype("float32")
        down = random.standard_normal((3, *weight.shape[1:])).astype("float32")
        tensors |= {f"{names[native]}.up": up, f"{names[native]}.down": down}
        change = up.astype("float64") @ down.reshape(3, -1).astype("float64")
        expected[f"{native}.weight"] = weight + change.reshape(weight.shape)
    bias = tensors[f"{names['conv_in']}.bias"] = random.standard_normal(16).astype("float32")

    found = read(write(tmp_path / "a.safetensors", tensors), "XL")
    fill(ControlNet(found.config), found.tensors)
    assert np.array_equal(found.tensors["conv_in.bias"], bias)
    for name, weight in found.tensors.items():
        if name in expected:
            assert np.allclose(weight, expected[name], atol=1e-5)
        elif name in base and name != "conv_in.bias":
            assert np.array_equal(weight, base[name])
    zero = arrays(controlnet("XL"))["controlnet_mid_block.weight"]
    assert np.array_equal(found.tensors["controlnet_mid_block.weight"], zero)


def union(tasks: int) -> ControlNetUnionModel:
    """A ControlNet-Union whose last layers are not zero."""
    torch.manual_seed(4)
    given = {k: v for k, v in KINDS["XL"].items() if k != "up_block_types"}
    theirs = ControlNetUnionModel(
        **given,
        conditioning_embedding_out_channels=(4, 8, 12, 16),
        num_control_type=tasks,
        num_trans_channel=16,
        num_proj_channel=16,
    )
    with torch.no_grad():
        for layer in (
            *(*theirs.controlnet_down_blocks, theirs.controlnet_mid_block),
            *(theirs.spatial_ch_projs, theirs.controlnet_cond_embedding.conv_out),
        ):
            layer.weight.normal_(std=0.2)
        theirs.task_embedding.normal_()
    return theirs


@pytest.mark.parametrize(("task", "number"), [("depth", 1), ("inpaint", 7)])
def test_a_controlnet_union(task: str, number: int, tmp_path: Path) -> None:
    theirs = union(8)
    theirs.save_pretrained(tmp_path)
    base, config = unet("XL")
    found = read_controlnet(tmp_path, config, arrays(base), task)
    ours = ControlNet(found.config)
    fill(ours, found.tensors)

    random = np.random.default_rng(0)
    x, hint, context, added, waves = (
        random.standard_normal(shape, "float32")
        for shape in ((2, 8, 6, 4), (1, 64, 48, 3), (2, 7, 2048), (2, 32), (2, 6))
    )
    sizes = np.abs(np.round(64 * waves))
    kinds = torch.zeros(2, 8)
    kinds[:, number] = 1
    with torch.no_grad():
        skips, middle = theirs(
            *(torch.from_numpy(x.transpose(0, 3, 1, 2)), torch.tensor([500.0, 500.0])),
            encoder_hidden_states=torch.from_numpy(context),
            controlnet_cond=[torch.from_numpy(hint.transpose(0, 3, 1, 2)).repeat(2, 1, 1, 1)],
            control_type=kinds,
            control_type_idx=[number],
            added_cond_kwargs={
                "text_embeds": torch.from_numpy(added),
                "time_ids": torch.from_numpy(sizes),
            },
            return_dict=False,
        )

    def predict(x: Any, hint: Any, *text: Any) -> Any:
        time = ops.convert_to_tensor(np.float32(500))
        return ours.predict(x, time, ours.prepare(*text), ours.see(hint))

    got = runtime.compile(predict, [ours], True)(x, hint, context, added, sizes)
    for each, expected in zip(got, (*skips, middle), strict=True):
        expected = expected.numpy().transpose(0, 2, 3, 1)
        difference = np.abs(ops.convert_to_numpy(each) - expected).max()
        assert difference < 1e-4 * np.abs(expected).max()


def test_a_controlnet_union_wants_to_know_its_task(tmp_path: Path) -> None:
    union(6).save_pretrained(tmp_path)
    base, config = unet("XL")
    for task in (None, "inpaint"):
        with pytest.raises(CheckpointError, match=f"one of pose, .*segments, .* task={task}"):
            read_controlnet(tmp_path, config, arrays(base), task)


def test_differences_from_a_model(tmp_path: Path) -> None:
    tensors = original("1.x") | {"difference": np.zeros(1, "float32")}
    found = read(write(tmp_path / "a.safetensors", tensors), "1.x").tensors
    base, own = arrays(unet("1.x")[0]), arrays(controlnet("1.x"))
    assert np.allclose(found["conv_in.weight"], base["conv_in.weight"] + own["conv_in.weight"])
    zero = "controlnet_down_blocks.1.weight"
    assert np.array_equal(found[zero], own[zero].reshape(found[zero].shape))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_another_family_is_named(kind: str, other: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", original(kind))
    if kind == other:
        return
    with pytest.raises(CheckpointError, match=rf"models of the kind {kind}, .* is {other},"):
        read(path, other)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("lllite_unet_input_blocks_4_1.down.0.weight", "a ControlNet-LLLite"),
        ("down_blocks.0.ctrl_to_base.0.weight", "a ControlNet-XS"),
        ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight", "a LoRA"),
        ("first_stage_model.decoder.conv_in.weight", "no network"),
    ],
)
def test_what_is_no_controlnet_is_named(name: str, what: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", {name: np.zeros((2, 2), "float32")})
    with pytest.raises(CheckpointError, match=f"holds {what}"):
        read(path, "1.x")


def hostile(name: str) -> Arrays:
    tensors = original("1.x")
    if name == "a level is missing":
        return {k: v for k, v in tensors.items() if not k.startswith("input_blocks.7")}
    if name == "no hint":
        return {k: v for k, v in tensors.items() if not k.startswith("input_hint_block.14")}
    if name == "another shape":
        return tensors | {"zero_convs.0.0.weight": np.zeros((4, 4, 1, 1), "float32")}
    if name == "an unknown key":
        return tensors | {"input_blocks.99.0.weight": np.zeros(1, "float32")}
    if name == "many keys":
        return tensors | {f"zero_convs.{n}.0.x": np.zeros(1, "float32") for n in range(2000)}
    if name == "scalars":
        return dict.fromkeys(tensors, np.zeros((), "float32"))
    lora = {"lora_controlnet": np.zeros(1, "float32")}
    ranks = {"input_blocks.0.0.up": np.zeros((16, 3)), "input_blocks.0.0.down": np.zeros((4, 4))}
    return {**tensors, **lora, **{k: v.astype("float32") for k, v in ranks.items()}}


def load(path: Path) -> None:
    found = read(path, "1.x")
    fill(ControlNet(found.config), found.tensors)


@pytest.mark.parametrize(
    "name",
    [
        *("a level is missing", "no hint", "another shape", "an unknown key", "many keys"),
        *("scalars", "ranks"),
    ],
)
def test_hostile_files(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", hostile(name))
    with pytest.raises(CheckpointError):
        load(path)


def test_a_truncated_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", original("1.x"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cut off"):
        read(path, "1.x")
