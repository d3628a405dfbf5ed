"""Merged weights are those of diffusers and PEFT, for every dialect that they read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapters.lora_files import numbers, write
from sfumato.adapters.lora import read_lora
from sfumato.adapters.names import Networks
from sfumato.checkpoints.architecture import text_encoder_config, unet_config
from sfumato.checkpoints.folders import native

peft = pytest.importorskip("peft")
diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

Tensors = dict[str, np.ndarray]
LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "ff.net.0.proj", "conv1", "conv_shortcut"]


def arrays(module: Any) -> Tensors:
    return {name: x.detach().numpy().copy() for name, x in module.state_dict().items()}


def models() -> tuple[Any, Any]:
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=768,
        sample_size=8,
    )
    config = transformers.CLIPTextConfig(
        vocab_size=20, hidden_size=768, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=12,
    )  # fmt: skip
    return unet, transformers.CLIPTextModel(config)


def networks(unet: Any, text: Any) -> Networks:
    def shapes(tensors: Tensors) -> dict[str, tuple[int, ...]]:
        return {name: x.shape for name, x in tensors.items()}

    return Networks(
        unet_config(shapes(arrays(unet))),
        text_encoder_config(shapes(native("text_encoder", arrays(text)))),
    )


@pytest.mark.parametrize(
    "options",
    [
        {"lora_alpha": 3},
        {"lora_alpha": 3, "use_rslora": True},
        {"lora_alpha": 3, "use_dora": True},
        {"lora_alpha": 3, "rank_pattern": {"conv1": 2}, "alpha_pattern": {"conv1": 5}},
    ],
    ids=["plain", "rank-stabilised", "DoRA", "patterns"],
)
def test_what_diffusers_saves(tmp_path: Path, options: dict[str, Any]) -> None:
    """Saved with PEFT's settings in the header, and merged by PEFT itself."""
    unet, text = models()
    before = arrays(unet), arrays(text)
    kinds = networks(unet, text)
    unet.add_adapter(peft.LoraConfig(r=4, target_modules=LAYERS, **options))
    names = ["q_proj", "out_proj", "fc1"]
    plain = {key: x for key, x in options.items() if not key.endswith("pattern")}
    peft.inject_adapter_in_model(peft.LoraConfig(r=4, target_modules=names, **plain), text)
    with torch.no_grad():
        for network in (unet, text):
            for name, parameter in network.named_parameters():
                if "lora_A" in name or "lora_B" in name:
                    parameter.copy_(torch.randn_like(parameter) * 0.1)
    state = peft.utils.get_peft_model_state_dict
    diffusers.StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=state(unet),
        text_encoder_lora_layers=state(text),
        unet_lora_adapter_metadata=unet.peft_config["default"].to_dict(),
        text_encoder_lora_adapter_metadata=text.peft_config["default"].to_dict(),
    )
    lora = read_lora(tmp_path / "pytorch_lora_weights.safetensors", kinds)
    assert not lora.unused
    compare(lora.updates["unet"], before[0], merged(unet))
    texts = native("text_encoder", before[1]), native("text_encoder", merged(text))
    compare(lora.updates["text_encoder"], *texts)


PLACE = "down_blocks.0.attentions.0.transformer_blocks.0."


def kohya(alpha: float) -> Iterator[tuple[str, np.ndarray]]:
    shapes = {"attn1.to_q": (32, 32), "attn2.to_k": (32, 768), "ff.net.0.proj": (256, 32)}
    for i, (layer, (out, inputs)) in enumerate(shapes.items()):
        name = "lora_unet_" + f"{PLACE}{layer}".replace(".", "_")
        yield f"{name}.lora_up.weight", numbers(out, 2 + i)
        yield f"{name}.lora_down.weight", numbers(2 + i, inputs)
        yield f"{name}.alpha", np.array(alpha, "float32")
    name = "lora_unet_down_blocks_0_resnets_0_conv1"
    yield f"{name}.lora_up.weight", numbers(32, 2, 1, 1)
    yield f"{name}.lora_down.weight", numbers(2, 32, 3, 3)
    yield f"{name}.alpha", np.array(alpha, "float32")


def processors(kind: str) -> Iterator[tuple[str, np.ndarray]]:
    for attention, inputs in (("attn1", 32), ("attn2", 768)):
        for layer in ("to_q", "to_k", "to_v", "to_out"):
            wide = inputs if layer in ("to_k", "to_v") else 32
            own = f"{layer}.0" if layer == "to_out" and kind == "middle" else layer
            stem = f"processor.{layer}_lora" if kind == "old" else f"{own}.lora"
            name = f"unet.{PLACE}{attention}.{stem}"
            yield f"{name}.up.weight", numbers(32, 3, seed=len(layer))
            yield f"{name}.down.weight", numbers(3, wide, seed=len(layer))


@pytest.mark.parametrize("dialect", ["kohya", "old", "middle"])
def test_what_diffusers_reads(tmp_path: Path, dialect: str) -> None:
    file = dict(kohya(1.5) if dialect == "kohya" else processors(dialect))
    path = write(tmp_path / "a.safetensors", file)
    unet, text = models()
    before, kinds = arrays(unet), networks(unet, text)
    pipeline = diffusers.StableDiffusionPipeline
    state, alphas = pipeline.lora_state_dict(str(path))[:2]
    pipeline.load_lora_into_unet(state, alphas, unet, adapter_name="default")
    compare(read_lora(path, kinds).updates["unet"], before, merged(unet))


def merged(network: Any) -> Tensors:
    """The weights with the adapter, by their names without it."""
    for module in network.modules():
        if isinstance(module, peft.tuners.tuners_utils.BaseTunerLayer):
            module.merge()
    found = {name.replace(".base_layer.", "."): x for name, x in arrays(network).items()}
    return {name: x for name, x in found.items() if "lora_" not in name}


def compare(updates: Any, before: Tensors, expected: Tensors) -> None:
    changed = {name for name, x in expected.items() if not np.array_equal(x, before[name])}
    assert changed == {*updates}
    for name, update in updates.items():
        got = update(before[name].reshape(update.shape), 1.0)
        target = expected[name].reshape(update.shape)
        np.testing.assert_allclose(got, target, atol=1e-5, err_msg=name)  # float32, other sums
