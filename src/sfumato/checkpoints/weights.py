"""Weights by key: a variable's value from the tensors of a file, stored in it, and taken out again.

    merged = tensors | {"conv_in.weight": tensors["conv_in.weight"] + delta}
    previous = store(variable, assemble("conv_in.weight", merged))
    restore(variable, previous)

A key is the native name of a variable (``networks.network.keys``). It is the name of a tensor in
the file, too, except where one variable holds several of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sfumato.checkpoints.copying import turn
from sfumato.checkpoints.fitting import SCALE, as_stored
from sfumato.kernels import restore, store

__all__ = ["SCALE", "assemble", "is_kernel", "restore", "source_shapes", "sources", "store"]

FUSED = {
    ".to_qkv.": (".to_q.", ".to_k.", ".to_v."),
    ".qkv_proj.": (".q_proj.", ".k_proj.", ".v_proj."),
}
"""One matmul of ours -> the layers of the file, next to one another along the outputs."""


def sources(key: str) -> tuple[str, ...]:
    """The tensors of the file that make up a variable."""
    for fused, parts in FUSED.items():
        if fused in key:
            return tuple(key.replace(fused, part) for part in parts)
    return (key,)


def is_kernel(key: str, rank: int) -> bool:
    """Whether inputs and outputs of a variable are in the other order than the file's."""
    return rank > 1 and not key.endswith("embedding.weight")


def source_shapes(key: str, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The shapes that each source of a variable of this shape may have, the usual one first."""
    turned = is_kernel(key, len(shape))
    if turned:
        shape = (shape[-1], shape[-2], *shape[:-2])
    shape = (shape[0] // len(sources(key)), *shape[1:])
    return as_stored(shape) if turned else [shape]


def assemble(
    key: str, tensors: Mapping[str, np.ndarray], out: np.ndarray | None = None
) -> np.ndarray:
    """The value of a variable: its sources side by side, in the order of Keras' axes.

    Linear kernels (O, I) become (I, O), convolutions (O, I, h, w) become (h, w, I, O), and 1x1
    convolutions become linear. int8 tensors are multiplied by the scales of their rows.

    Args:
        key: of the variable.
        tensors: by native name; its sources must be among them.
        out: the value is written there, in its dtype; default: a view of the tensor, where that is
            possible, in the dtype of the file.
    """
    parts = [dequantized(name, tensors) for name in sources(key)]
    turned = is_kernel(key, parts[0].ndim)
    if out is None:
        value = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if not turned:
            return value
        if value.shape[2:] == (1, 1):
            value = value[:, :, 0, 0]
        return value.transpose(*range(2, value.ndim), 1, 0)

    width = len(parts[0])
    for index, part in enumerate(parts):
        place = slice(index * width, (index + 1) * width)
        if turned:
            turn(part, out[..., place])
        else:
            out[place] = part
    return out


def dequantized(name: str, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """The tensor, multiplied by the scales of its rows if it is in int8."""
    tensor = tensors[name]
    if tensor.dtype != np.int8:
        return tensor
    scale = tensors[name + SCALE].astype("float32")
    return tensor * scale.reshape(-1, *(1,) * (tensor.ndim - 1))
