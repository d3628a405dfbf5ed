"""T2I-Adapters against diffusers', and their files' names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import T2IAdapter as Theirs
from keras import ops
from references import arrays, error, first, last, unet

from sfumato import runtime
from sfumato.adapters.controlnet import read_controlnet
from sfumato.adapters.t2i import read_t2i
from sfumato.checkpoints import architecture, fill
from sfumato.checkpoints.tensors import CheckpointError
from sfumato.networks.configs import UNetConfig
from sfumato.networks.denoiser import Aids, Conditioning
from sfumato.networks.t2i import T2IAdapter
from sfumato.networks.unet import UNet

KINDS: dict[str, dict[str, Any]] = {
    "full_adapter": {"channels": [32, 64, 64]},
    "full_adapter_xl": {"channels": [32, 64, 64, 64], "downscale_factor": 16},
    "light_adapter": {"channels": [32, 64], "num_res_blocks": 3},
}


def base_of(kind: str) -> tuple[Any, UNetConfig]:
    theirs = unet("xl" if kind.endswith("xl") else "1.x")
    shapes = architecture.shapes_of(arrays(theirs))
    return theirs, architecture.unet_config(shapes, dict(theirs.config))


def adapter(kind: str) -> Theirs:
    torch.manual_seed(2)
    return Theirs(in_channels=3, adapter_type=kind, **KINDS[kind]).eval()


def original(kind: str) -> dict[str, np.ndarray]:
    """The names of the authors: blocks counted through, two at each level, or levels in levels."""

    def named(name: str) -> str:
        name = name.removeprefix("adapter.")
        if kind == "light_adapter":
            return name.replace("resnets.", "body.")
        if match := re.fullmatch(r"body\.(\d)\.resnets\.(\d)\.(.+)", name):
            return f"body.{2 * int(match[1]) + int(match[2])}.{match[3]}"
        return re.sub(r"body\.(\d)\.in_conv", lambda m: f"body.{2 * int(m[1])}.in_conv", name)

    return {named(name): tensor for name, tensor in arrays(adapter(kind)).items()}


@pytest.mark.parametrize("kind", KINDS)
def test_features(kind: str) -> None:
    theirs, (_, config) = adapter(kind), base_of(kind)
    ours_of: list[T2IAdapter] = []
    for tensors in (arrays(theirs), original(kind)):
        found, named = read_t2i(Path("a.pth"), tensors, config)
        ours_of.append(T2IAdapter(found))
        fill(ours_of[-1], named)
    # An odd number of positions below the first level
    hint = np.random.default_rng(0).random((2, 16 * 6, 16 * 5, 3), "float32")
    with torch.no_grad():
        expected = theirs(first(hint))
    for ours in ours_of:
        got = ours(ops.convert_to_tensor(hint))
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert error(one, last(other)) < 1e-5


@pytest.mark.parametrize("kind", ["full_adapter", "full_adapter_xl"])
def test_where_features_are_added(kind: str) -> None:
    theirs, config = base_of(kind)
    ours = UNet(config)
    fill(ours, arrays(theirs))
    random = np.random.default_rng(1)
    hint = random.random((1, 64, 64, 3), "float32")
    with torch.no_grad():
        features = adapter(kind)(first(hint))
    x, context = (
        random.standard_normal((1, 8, 8, 4), "float32"),
        random.random((1, 7, 48), "float32"),
    )
    added, conditions = None, {}
    if config.added_width:
        pooled, sizes = random.random((1, 32), "float32"), np.full((1, 6), 64, "float32")
        text = {"text_embeds": torch.from_numpy(pooled), "time_ids": torch.from_numpy(sizes)}
        conditions = {"added_cond_kwargs": text}
        added = ours.prepare(*map(ops.convert_to_tensor, (context, pooled, sizes))).added
    with torch.no_grad():
        expected = theirs(
            *(first(x), torch.tensor([500.0]), torch.from_numpy(context)),
            down_intrablock_additional_residuals=[each.clone() for each in features],
            **conditions,
        ).sample
    memories = ours.prepare(ops.convert_to_tensor(context)).memories

    def predict(x: Any, time: Any, conditioning: Conditioning, features: list[Any]) -> Any:
        return ours.predict(x, time, conditioning, Aids(features=features)).answer

    program = runtime.compile(predict, [ours], True)
    given = Conditioning(memories, added), [last(each) for each in features]
    assert error(program(x, np.float32(500), *given), last(expected)) < 1e-5


def test_another_family_and_broken_files(tmp_path: Path) -> None:
    tensors = arrays(adapter("full_adapter_xl"))
    with pytest.raises(CheckpointError, match="of the kind XL, and the model is none of it"):
        read_t2i(tmp_path, tensors, base_of("full_adapter")[1])
    with pytest.raises(CheckpointError, match="of the kind 1.x or 2.x, and the model is of XL"):
        read_t2i(tmp_path, arrays(adapter("full_adapter")), base_of("full_adapter_xl")[1])
    config = base_of("full_adapter_xl")[1]
    for name in ("conv_in.weight", "body.1.resnets.0.block2.weight"):
        rest = {k: v for k, v in tensors.items() if k != f"adapter.{name}"}
        with pytest.raises(CheckpointError, match="no sound T2I-Adapter"):
            read_t2i(tmp_path, rest, config)
    wide = tensors | {"adapter.body.0.resnets.0.block2.weight": np.zeros((5, 5, 1, 1), "float32")}
    with pytest.raises(CheckpointError, match="as wide as the model's"):
        read_t2i(tmp_path, wide, config)


def test_a_folder_of_diffusers(tmp_path: Path) -> None:
    adapter("full_adapter").save_pretrained(tmp_path)
    found = read_controlnet(tmp_path, base_of("full_adapter")[1], {})
    fill(T2IAdapter(found.config), found.tensors)
