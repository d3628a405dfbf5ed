"""A denoiser that attends to pictures, on every backend, against diffusers' in PyTorch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import ops

import small_ip_adapters
from sfumato import programs, runtime
from sfumato.adapters.ip_adapter import find_encoder, read_ip_adapter
from sfumato.checkpoints.architecture import shapes_of, unet_config
from sfumato.checkpoints.filling import fill
from sfumato.networks.denoiser import Aids
from sfumato.networks.ip_adapter import IPAdapter
from sfumato.networks.unet import UNet
from sfumato.networks.vision import VisionEncoder

pytestmark = pytest.mark.backend("jax", "tensorflow", "torch", "openvino")

WEIGHTS = {"base": 0.6, "plus": 0.4}
IS_WHOLE = keras.backend.backend() != "tensorflow"  # XLA takes half a minute there


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, "float32")


def first(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def run(function: Any, network: Any, *args: Any, **static: Any) -> Any:
    program = runtime.compile(partial(function, network), [network], IS_WHOLE)
    return program(*args, **static)


def predict(network: Any, *args: Any) -> Any:
    return network.predict(*args).answer


def test_a_guided_answer(tmp_path: Path) -> None:
    """To a picture as two IP-Adapters remember it; the negative prompt remembers none."""
    theirs = small_ip_adapters.unet()
    tensors = {name: t.numpy() for name, t in theirs.state_dict().items()}
    base = unet_config(shapes_of(tensors), dict(theirs.config))
    unet = UNet(base)
    fill(unet, tensors)
    pixels, x, context = noise(1, 28, 28, 3), noise(1, 8, 6, 4), noise(2, 77, 32)
    conditioning = run(programs.prepare, unet, context, None, None)

    memories = [[*layer] for layer in conditioning.memories]
    for kind, weight in WEIGHTS.items():
        file = small_ip_adapters.save(theirs, kind, tmp_path)
        config, weights = read_ip_adapter(file, base)
        _, seen_by = find_encoder(file, config)
        adapter, encoder = IPAdapter(config), VisionEncoder(seen_by.config)
        fill(adapter, weights)
        fill(encoder, seen_by.tensors)
        patches = kind == "plus"
        features = [run(programs.look, encoder, p, patches=patches) for p in (pixels, 0 * pixels)]
        given = np.concatenate([ops.convert_to_numpy(each) for each in features])
        given[1] = given[1] if patches else 0
        found = run(programs.remember, adapter, given, np.float32(weight), asked=1, silent=1)
        memories = [[*layer, picture] for layer, picture in zip(memories, found, strict=True)]
    given = x, np.float32(500), conditioning._replace(memories=memories), Aids()
    got = ops.convert_to_numpy(run(predict, unet, *given))

    expected, plain = (judge(theirs, pixels, x, context, scale) for scale in (1, 0))
    assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.abs(got - plain).max() > 1e-2 * np.abs(expected).max()


def judge(
    unet: Any, pixels: np.ndarray, x: np.ndarray, context: np.ndarray, scale: float
) -> np.ndarray:
    """The answer of diffusers' network."""
    unet._load_ip_adapter_weights([small_ip_adapters.adapter(unet, kind) for kind in WEIGHTS])
    for processor in unet.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [scale * weight for weight in WEIGHTS.values()]
    with torch.no_grad():
        see = partial(small_ip_adapters.encoder(), output_hidden_states=True)
        shown, none = see(first(pixels)), see(first(0 * pixels))
        one = torch.stack([shown.image_embeds, 0 * none.image_embeds])
        patches = torch.stack([shown.hidden_states[-2], none.hidden_states[-2]])
        answer = unet(
            torch.cat([first(x)] * 2),
            500,
            torch.from_numpy(context),
            added_cond_kwargs={"image_embeds": [one, patches]},
        ).sample
    return np.moveaxis(answer.numpy(), 1, -1)
