"""LoRAs as the programs of the field write them, with random numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sfumato.adapters.names import Networks
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.networks.configs import CLIP_L, OPENCLIP_BIGG, OPENCLIP_H, UNetConfig

SD1 = Networks(UNetConfig(), CLIP_L)
SD2 = Networks(
    UNetConfig(context_width=1024, heads=(5, 10, 20, 20), linear_projection=True), OPENCLIP_H
)
XL = Networks(
    UNetConfig(
        channels=(320, 640, 1280),
        down=((0, 0), (2, 2), (10, 10)),
        mid=(10, 0),
        up=((10, 10, 10), (2, 2, 2), (0, 0, 0)),
        heads=(5, 10, 20),
        context_width=2048,
        added_width=2816,
        linear_projection=True,
    ),
    CLIP_L,
    OPENCLIP_BIGG,
)


def numbers(*shape: int, seed: int = 0, dtype: Any = "float32") -> np.ndarray:
    random = np.random.default_rng([seed, *shape])
    return (0.3 * random.standard_normal(shape)).astype(dtype)


def write(
    path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, Any] | None = None
) -> Path:
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in (metadata or {}).items()}
    write_safetensors(path, tensors, texts)
    return path


def kohya(name: str, out: int, inputs: int, rank: int = 2, **more: np.ndarray) -> dict[str, Any]:
    """A layer of a LoRA in kohya's words."""
    return {
        f"{name}.lora_up.weight": numbers(out, rank, seed=1),
        f"{name}.lora_down.weight": numbers(rank, inputs, seed=2),
        **{f"{name}.{key}": value for key, value in more.items()},
    }
