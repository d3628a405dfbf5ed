"""Whole pictures with a LoRA are those of diffusers and PEFT."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_pipelines
import torch
from test_against_diffusers import compare

from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.stable_diffusion import StableDiffusion

pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")

LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "q_proj", "fc1", "fc2")


def kohya(network: Any, prefix: str) -> Iterator[tuple[str, np.ndarray]]:
    """A LoRA of rank 2 for the linear layers of one of diffusers' networks."""
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear) and name.endswith(LAYERS):
            if prefix != "lora_unet" and not name.startswith("text_model."):
                name = f"text_model.{name}"  # as transformers had it, and kohya has it
            key = f"{prefix}_{name.replace('.', '_')}"
            random = np.random.default_rng(len(name))
            up = random.standard_normal((module.out_features, 2)) * 0.2
            yield f"{key}.lora_up.weight", up.astype("float32")
            down = random.standard_normal((2, module.in_features)) * 0.2
            yield f"{key}.lora_down.weight", down.astype("float32")
            yield f"{key}.alpha", np.array(1.5, "float32")


@pytest.mark.parametrize("kind", ["1.x", "xl"])
def test_a_lora_for_all_networks(tmp_path: Path, kind: str) -> None:
    ours = StableDiffusion(64, 48, preset=str(small_pipelines.save(kind, tmp_path)))
    theirs = small_pipelines.pipeline(kind)
    parts = {"lora_unet": theirs.unet, "lora_te": theirs.text_encoder}
    if kind == "xl":
        second = theirs.text_encoder_2
        parts = {"lora_unet": theirs.unet, "lora_te1": theirs.text_encoder, "lora_te2": second}
    tensors = {key: x for prefix, part in parts.items() for key, x in kohya(part, prefix)}
    file = tmp_path / "a.safetensors"
    write_safetensors(file, tensors)
    assert len(tensors) > 100

    compare((theirs, ours), "euler", negative="blurry, blue")
    unet = {key: x for key, x in tensors.items() if key.startswith("lora_unet")}
    write_safetensors(tmp_path / "unet.safetensors", unet)
    theirs.load_lora_weights(str(tmp_path), weight_name="unet.safetensors", adapter_name="a")
    theirs.set_adapters("a", 0.7)
    for prefix, part in parts.items():  # which diffusers cannot load with every transformers
        if prefix != "lora_unet":
            add(part, dict(kohya(part, prefix)), 0.7)
    compare((theirs, ours), "euler", negative="blurry, blue", fewer={"loras": [(file, 0.7)]})
    with pytest.raises(AssertionError):  # it says something
        compare((theirs, ours), "euler", negative="blurry, blue")


def add(network: Any, tensors: dict[str, np.ndarray], strength: float) -> None:
    keys = [key.removesuffix(".alpha") for key in tensors if key.endswith(".alpha")]
    layers = [x for name, x in network.named_modules() if name.endswith(LAYERS)]
    for key, layer in zip(keys, layers, strict=True):
        up, down = (tensors[f"{key}.lora_{side}.weight"] for side in ("up", "down"))
        delta = strength * tensors[f"{key}.alpha"] / 2 * up @ down
        with torch.no_grad():
            layer.weight += torch.from_numpy(delta.astype("float32"))
