"""LoRAs of every dialect are read whole, and what cannot be used is refused by name."""

from __future__ import annotations

import json
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch

from adapters.lora_files import SD1, SD2, XL, kohya, numbers, write
from sfumato.adapters.lora import read_lora
from sfumato.adapters.names import Networks
from sfumato.checkpoints import CheckpointError

# From files that people of the field made: a key, the model, and the native name of its layer.
DOWN = "down_blocks.1.attentions.0.transformer_blocks.0."
KEYS = [
    ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", SD1,
     f"{DOWN}attn2.to_k"),
    ("lora_unet_mid_block_resnets_0_conv1", SD1, "mid_block.resnets.0.conv1"),
    ("lora_unet_output_blocks_2_1_conv", SD1, "up_blocks.0.upsamplers.0.conv"),
    ("lora_unet_output_blocks_2_2_conv", XL, "up_blocks.0.upsamplers.0.conv"),
    ("lora_unet_input_blocks_4_1_transformer_blocks_1_ff_net_0_proj", XL,
     "down_blocks.1.attentions.0.transformer_blocks.1.ff.net.0.proj"),
    ("lora_unet_input_blocks_3_0_op", XL, "down_blocks.0.downsamplers.0.conv"),
    ("lora_unet_input_blocks_4_0_in_layers_2", XL, "down_blocks.1.resnets.0.conv1"),
    ("lora_unet_label_emb_0_2", XL, "add_embedding.linear_2"),
    ("lora_unet_time_embedding_linear_1", SD1, "time_embedding.linear_1"),
    ("lora_unet_conv_norm_out", SD1, "conv_norm_out"),
    ("lora_te_text_model_encoder_layers_3_mlp_fc2", SD1, "encoder.layers.3.mlp.fc2"),
    ("lora_te1_text_model_encoder_layers_0_self_attn_out_proj", XL,
     "encoder.layers.0.self_attn.out_proj"),
    ("lora_te2_text_model_encoder_layers_31_self_attn_q_proj", XL,
     "encoder.layers.31.self_attn.q_proj"),
    ("lora_te2_text_projection", XL, "text_projection"),
    ("oft_unet_" + f"{DOWN}attn1.to_out.0".replace(".", "_"), SD1, f"{DOWN}attn1.to_out.0"),
    ("lycoris_" + f"{DOWN}ff.net.2".replace(".", "_"), SD1, f"{DOWN}ff.net.2"),
    (f"unet.{DOWN}attn1.to_q", SD2, f"{DOWN}attn1.to_q"),
    (f"{DOWN}attn1.to_q", SD2, f"{DOWN}attn1.to_q"),
    ("diffusion_model.middle_block.1.proj_in", SD1, "mid_block.attentions.0.proj_in"),
    ("text_encoder.text_model.encoder.layers.0.self_attn.to_q", SD1,
     "encoder.layers.0.self_attn.q_proj"),
    ("text_encoder_2.text_model.encoder.layers.0.self_attn.k_proj", XL,
     "encoder.layers.0.self_attn.k_proj"),
    ("text_encoders.clip_g.transformer.text_model.encoder.layers.0.mlp.fc1", XL,
     "encoder.layers.0.mlp.fc1"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "networks", "native"), KEYS, ids=[key for key, *_ in KEYS])
def test_layers_are_found_by_the_names_of_every_program(
    name: str, networks: Networks, native: str
) -> None:
    layer = networks.find(name)
    assert layer is not None
    assert layer.name == native


def test_standard_files_of_kohya_have_the_counts_of_its_trainer() -> None:
    targets = (
        "to_q",
        "to_k",
        "to_v",
        "to_out.0",
        "proj_in",
        "proj_out",
        "ff.net.0.proj",
        "ff.net.2",
    )
    for networks, count in ((SD1, 192), (SD2, 192), (XL, 722)):
        layers = {layer.name for layer in networks._layers["unet"].values()}
        assert sum(name.endswith(targets) for name in layers) == count


UPS, DOWNS = numbers(640, 2, seed=1), numbers(2, 640, seed=2)
PROCESSOR = ("to_q_lora.up.weight", "to_q_lora.down.weight")
KOHYA = ("lora_up.weight", "lora_down.weight")
IN_COMPVIS = "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q"
DIALECTS = {
    "kohya": ("lora_unet_" + f"{DOWN}attn1.to_q".replace(".", "_"), *KOHYA),
    "attention processors": (f"unet.{DOWN}attn1.processor", *PROCESSOR),
    "without prefix": (f"{DOWN}attn1.processor", *PROCESSOR),
    "middle": (f"unet.{DOWN}attn1.to_q", "lora.up.weight", "lora.down.weight"),
    "PEFT": (f"unet.{DOWN}attn1.to_q", "lora_B.weight", "lora_A.weight"),
    "PEFT with a name": (
        f"base_model.model.{DOWN}attn1.to_q",
        "lora_B.default.weight",
        "lora_A.default.weight",
    ),
    "PEFT bare": (f"unet.{DOWN}attn1.to_q", "lora_B", "lora_A"),
    "ComfyUI": (IN_COMPVIS, *KOHYA),
}


@pytest.mark.parametrize("dtype", ["float32", "float16", ml_dtypes.bfloat16])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_says_the_same_update(tmp_path: Path, dialect: str, dtype: object) -> None:
    name, up, down = DIALECTS[dialect]
    file = {f"{name}.{up}": UPS.astype(dtype), f"{name}.{down}": DOWNS.astype(dtype)}
    lora = read_lora(write(tmp_path / "a.safetensors", file), SD1)
    assert not lora.unused
    [(key, update)] = lora.updates["unet"].items()
    assert key == f"{DOWN}attn1.to_q.weight"
    expected = UPS.astype(dtype).astype("float32") @ DOWNS.astype(dtype).astype("float32")
    got = update(np.zeros((640, 640), "float32"), 1.0)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)  # the order of sums


def test_the_old_names_of_text_encoders_are_read(tmp_path: Path) -> None:
    prefix = "text_encoder.text_model.encoder.layers.0.self_attn."
    file = {}
    for layer in ("to_q_lora", "to_out_lora", "k_proj.lora_linear_layer"):
        file[f"{prefix}{layer}.up.weight"] = numbers(768, 2)
        file[f"{prefix}{layer}.down.weight"] = numbers(2, 768)
    lora = read_lora(write(tmp_path / "a.safetensors", file), SD1)
    names = [f"encoder.layers.0.self_attn.{n}_proj.weight" for n in ("q", "out", "k")]
    assert [*lora.updates["text_encoder"]] == names


@pytest.mark.parametrize("gates", [False, True])
def test_numbered_layers_are_those_of_diffusers_modules(tmp_path: Path, gates: bool) -> None:
    diffusers = pytest.importorskip("diffusers")
    small = SD1.unet.__class__(
        channels=(32, 64), down=((1, 1), (0, 0)), up=((0, 0, 0), (1, 1, 1)), heads=(8, 8),
        context_width=48,
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=48,
    )
    # The trainer's walk: the linear layers of each attention, and of each gate, module by module.
    kinds = ("Attention", *(("GEGLU",) if gates else ()))
    walked = [
        f"{name}.{inner}"
        for name, module in unet.named_modules()
        if type(module).__name__ in kinds
        for inner, each in module.named_modules()
        if isinstance(each, torch.nn.Linear)
    ]
    # Today diffusers makes the gate after both attentions. In 2022 it came between them.
    found = Networks(small).indexed("unet", gates)
    assert sorted(found) == sorted(walked)
    own = [name for name in found if "attn" in name]
    assert own == [name for name in walked if "attn" in name]


def test_lists_of_tensors_are_read_in_their_order(tmp_path: Path) -> None:
    names = SD1.indexed("unet")
    shapes = [layer.shape for name in names if (layer := SD1.find(name))]
    tensors = []
    for i, (out, inputs) in enumerate(shapes):
        tensors += [torch.full((out, 1), float(i)), torch.ones(1, inputs)]
    torch.save(tensors, tmp_path / "old.pt")
    updates = read_lora(tmp_path / "old.pt", SD1).updates["unet"]
    assert len(updates) == 144
    for i, name in enumerate(names):
        assert updates[f"{name}.weight"].factors["lora_up"][0, 0] == i

    torch.save(tensors[:-2], tmp_path / "short.pt")
    with pytest.raises(CheckpointError, match="as many layers"):
        read_lora(tmp_path / "short.pt", SD1)


def test_numbered_keys_and_their_words_are_read(tmp_path: Path) -> None:
    file = {"<s1>": numbers(768)}
    for i in range(48):
        file |= {f"text_encoder:{i}:up": numbers(768, 1), f"text_encoder:{i}:down": numbers(1, 768)}
    lora = read_lora(write(tmp_path / "a.safetensors", file), SD1)
    assert [*lora.updates["text_encoder"]][1] == "encoder.layers.0.self_attn.v_proj.weight"
    assert lora.words["<s1>"]["text_encoder"].shape == (1, 768)
    assert not lora.unused


def test_bundled_embeddings_come_along(tmp_path: Path) -> None:
    file = kohya("lora_te1_text_model_encoder_layers_0_mlp_fc1", 3072, 768)
    file["bundle_emb.my.cat.clip_l"] = numbers(2, 768)
    file["bundle_emb.my.cat.clip_g"] = numbers(2, 1280)
    file["bundle_emb.old.string_to_param.*"] = numbers(3, 768)
    lora = read_lora(write(tmp_path / "a.safetensors", file), XL)
    shapes = {w: {p: x.shape for p, x in parts.items()} for w, parts in lora.words.items()}
    both = {"text_encoder": (2, 768), "text_encoder_2": (2, 1280)}
    assert shapes == {"my.cat": both, "old": {"text_encoder": (3, 768)}}


# The scale

Q = "lora_unet_" + f"{DOWN}attn1.to_q".replace(".", "_")
K = Q.replace("attn1_to_q", "attn2_to_k")


def scale(path: Path, networks: Networks = SD1) -> float:
    [update] = read_lora(path, networks).updates["unet"].values()
    return update.scale


def test_alpha_is_divided_by_the_rank_of_each_layer(tmp_path: Path) -> None:
    file = kohya(Q, 640, 640, rank=4, alpha=np.array(2, ml_dtypes.bfloat16))
    assert scale(write(tmp_path / "a.safetensors", file)) == 0.5
    assert scale(write(tmp_path / "b.safetensors", kohya(Q, 640, 640, rank=4))) == 1


def test_settings_of_peft_say_the_scale(tmp_path: Path) -> None:
    name = f"unet.{DOWN}attn1.to_q"
    file = {f"{name}.lora_B.weight": numbers(640, 4), f"{name}.lora_A.weight": numbers(4, 640)}
    said = {"unet.r": 4, "unet.lora_alpha": 8}
    for more, expected in (
        ({}, 2.0),
        ({"unet.use_rslora": True}, 4.0),
        ({"unet.alpha_pattern": {f"{DOWN}attn1.to_q": 2}}, 0.5),
        ({"unet.alpha_pattern": {"attn2.to_q": 2}}, 2.0),
    ):
        header = {"lora_adapter_metadata": {**said, **more}}
        assert scale(write(tmp_path / "a.safetensors", file, header)) == expected

    bare = {key.removeprefix("unet."): tensor for key, tensor in file.items()}
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 12}))
    assert scale(write(tmp_path / "adapter_model.safetensors", bare)) == 3


# What is refused


def test_keys_of_no_layer_are_listed(tmp_path: Path) -> None:
    file = kohya(Q, 640, 640) | {"lora_unet_extra.lora_up.weight": numbers(4, 4), "odd": numbers(1)}
    path = write(tmp_path / "a.safetensors", file)
    with pytest.warns(UserWarning, match=r"not used: lora_unet_extra\.lora_up\.weight, odd"):
        lora = read_lora(path, SD1)
    assert {*lora.unused} == {"lora_unet_extra.lora_up.weight", "odd"}


def test_the_last_layer_of_2_x_is_left_out_without_a_word(tmp_path: Path) -> None:
    names = [f"lora_te_text_model_encoder_layers_{i}_mlp_fc1" for i in (22, 23)]
    file = kohya(names[0], 4096, 1024) | kohya(names[1], 4096, 1024)
    lora = read_lora(write(tmp_path / "a.safetensors", file), SD2)
    assert [*lora.updates["text_encoder"]] == ["encoder.layers.22.mlp.fc1.weight"]
    assert len(lora.unused) == 2


@pytest.mark.parametrize(
    ("file", "networks", "message"),
    [
        (kohya(K, 640, 1024), SD1, "of the kind 2.x, and .* 1.x"),
        (kohya(K, 640, 768), XL, "of the kind 1.x, and .* XL"),
        (kohya("lora_te2_text_model_encoder_layers_0_mlp_fc1", 5120, 1280), SD1, "of the kind XL"),
        (kohya("lora_transformer_single_transformer_blocks_0_x", 8, 8), SD1, "transformer"),
        (kohya("lora_unet_double_blocks_0_img_attn_qkv", 8, 8), SD1, "diffusion transformer"),
        ({"lora_prior_unet_x.lora_up.weight": numbers(8, 8)}, SD1, "Stable Cascade"),
        ({"lllite_unet_x.down.0.weight": numbers(8, 8)}, XL, "ControlNet-LLLite"),
        ({"conv_in.weight": numbers(320, 4, 3, 3)}, SD1, "holds no LoRA"),
        ({}, SD1, "no tensors"),
        (kohya(Q, 640, 641), SD1, r"does not fit.*attn1_to_q .*\(2, 641\).*\(640, 640\)"),
        ({f"{Q}.lora_up.weight": numbers(640, 2), f"{Q}.lora_down.weight": numbers(3, 640)}, SD1,
         "does not fit"),
        ({f"{Q}.lora_up.weight": numbers(640, 2)}, SD1, "does not fit"),
        ({f"{Q}.lokr_w1": numbers(2, 2), f"{Q}.lokr_w2": numbers(4, 4)}, SD1, "does not fit"),
        (kohya(Q, 640, 640, dora_scale=numbers(3, 1)), SD1, "does not fit"),
        (kohya(Q, 640, 640, alpha=numbers(2)), SD1, "does not fit"),
        (kohya(Q, 640, 640, rank=0), SD1, "does not fit"),
        (kohya(Q, 640, 640) | {f"{Q}.lora_up.weight": np.full((640, 2), np.nan)}, SD1,
         r"not finite.*lora_up"),
        (kohya(Q, 640, 640, alpha=np.array(np.inf)), SD1, r"not finite.*alpha"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(
    tmp_path: Path, file: dict[str, np.ndarray], networks: Networks, message: str
) -> None:
    path = write(tmp_path / "a.safetensors", file)
    with pytest.raises(CheckpointError, match=message):
        read_lora(path, networks)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", kohya(Q, 640, 640))
    whole = path.read_bytes()
    for content in (b"", whole[:5], whole[:-1], b"\xff" * 7 + b"\x7f" + whole):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="a.safetensors"):
            read_lora(path, SD1)
    write(path, kohya(Q, 640, 640), {"lora_adapter_metadata": "[" * 100_000})
    with pytest.raises(CheckpointError, match="must be an object of JSON"):
        read_lora(path, SD1)
    with pytest.raises(CheckpointError, match="must end in"):
        read_lora(path.rename(tmp_path / "a.txt"), SD1)


def test_very_many_keys_take_seconds(tmp_path: Path) -> None:
    """A loop in a loop would take minutes."""
    file = {f"x.{i}.lora_A": np.zeros((), "float16") for i in range(20_000)}
    path = write(tmp_path / "a.safetensors", file)
    begin = time.perf_counter()
    with pytest.raises(CheckpointError, match="holds no LoRA"):
        read_lora(path, SD1)
    assert time.perf_counter() - begin < 30
