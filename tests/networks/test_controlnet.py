"""ControlNets against diffusers', on the same random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from keras import ops
from references import DOWN, UNETS, arrays, error, first, last, unet

from sfumato import runtime
from sfumato.checkpoints import architecture, fill
from sfumato.checkpoints.controlnet import controlnet_config
from sfumato.networks.controlnet import ControlNet
from sfumato.networks.denoiser import Aids, Conditioning, Residuals
from sfumato.networks.layers import timestep_embedding
from sfumato.networks.unet import UNet

HINTS = (4, 8, 12, 16)
SMALL: dict[str, Any] = {  # XL's without attention
    "down_block_types": (DOWN,) * 3,
    "mid_block_type": "UNetMidBlock2D",
    "transformer_layers_per_block": 1,
}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, "float32")


def pair(kind: str) -> tuple[ControlNetModel, ControlNet, UNet]:
    base = unet(kind.removesuffix(" small"))
    config = architecture.unet_config(architecture.shapes_of(arrays(base)), dict(base.config))
    torch.manual_seed(3)
    if kind.endswith(" small"):
        given = {k: v for k, v in UNETS["xl"].items() if k != "up_block_types"} | SMALL
        theirs = ControlNetModel(**given, conditioning_embedding_out_channels=HINTS)
    else:
        theirs = ControlNetModel.from_unet(base, conditioning_embedding_out_channels=HINTS)
    with torch.no_grad():
        for layer in (*theirs.controlnet_down_blocks, theirs.controlnet_mid_block):
            layer.weight.normal_(std=0.1)
        theirs.controlnet_cond_embedding.conv_out.weight.normal_(std=0.1)
    tensors = arrays(theirs)
    shapes = architecture.shapes_of(tensors)
    ours = ControlNet(controlnet_config(shapes, config, dict(theirs.config)))
    fill(ours, tensors)
    made = UNet(config)
    fill(made, arrays(base))
    return theirs, ours, made


@pytest.mark.parametrize(
    ("kind", "size"), [("1.x", (9, 15)), ("2.x", (8, 8)), ("xl", (13, 10)), ("xl small", (8, 8))]
)
def test_maps(kind: str, size: tuple[int, int]) -> None:
    theirs, ours, _ = pair(kind)
    x, hint = noise(2, *size, 4), np.abs(noise(2, 8 * size[0], 8 * size[1], 3))
    timesteps, context = np.array([7.0, 901.0], "float32"), noise(2, 77, 48)
    inputs = [x, ops.convert_to_numpy(timestep_embedding(timesteps, 32)), context, hint]
    added = {}
    if ours.takes_sizes:
        pooled, sizes = noise(2, 32), np.array([[64, 48, 0, 8, 64, 48]] * 2, "float32")
        waves = np.asarray(timestep_embedding(sizes.reshape(-1), 256)).reshape(2, -1)
        inputs.append(np.concatenate([pooled, waves], axis=-1))
        text = {"text_embeds": torch.from_numpy(pooled), "time_ids": torch.from_numpy(sizes)}
        added = {"added_cond_kwargs": text}
    with torch.no_grad():
        skips, middle = theirs(
            *(first(x), torch.from_numpy(timesteps), torch.from_numpy(context), first(hint)),
            **added,
            return_dict=False,
        )
    found = runtime.compile(lambda *inputs: ours([*inputs]), [ours], True)(*inputs)
    shapes = [(2, *shape) for shape in ours.config.skips(*size)]
    assert [tuple(each.shape) for each in found] == [*shapes, shapes[-1]]
    for each, expected in zip(found, (*skips, middle), strict=True):
        assert error(each, last(expected)) < 1e-5


def test_what_is_added_reaches_every_block() -> None:
    """Each of the residuals changes the answer to two questions about the same latents."""
    _, ours, base = pair("1.x")
    x, context = noise(1, 8, 8, 4), noise(2, 77, 48)
    with torch.no_grad():
        both = first(np.concatenate([x, x]))
        plain = last(unet("1.x")(both, 500, torch.from_numpy(context)).sample)
    conditioning = base.prepare(ops.convert_to_tensor(context))
    shapes = [(2, *shape) for shape in ours.config.skips(8, 8)]
    zeros = [np.zeros(shape, "float32") for shape in (*shapes, shapes[-1])]

    def predict(x: Any, conditioning: Conditioning, residuals: Residuals) -> Any:
        timestep = ops.convert_to_tensor(np.float32(500))
        return base.predict(x, timestep, conditioning, Aids(residuals=residuals)).answer

    program = runtime.compile(predict, [base], True)
    assert error(program(x, conditioning, Residuals(zeros[:-1], zeros[-1])), plain) < 1e-5
    for k, shape in enumerate((*shapes, shapes[-1])):
        changed = [*zeros]
        changed[k] = noise(*shape)
        answer = program(x, conditioning, Residuals(changed[:-1], changed[-1]))
        assert np.abs(np.asarray(answer) - plain).max() > 1e-3, k
