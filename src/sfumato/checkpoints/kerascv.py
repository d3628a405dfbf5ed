"""The order of the arrays in KerasCV's .h5 files, and so their native names.

The number of arrays in a file says which of the four networks it holds. The order is that of
the layers in KerasCV's code, except that the U-Net, a functional model, is sorted by depth: the
first convolution comes between the two time layers.
"""

from __future__ import annotations

import numpy as np

from sfumato.checkpoints import layout
from sfumato.checkpoints.hdf5 import Weight
from sfumato.checkpoints.tensors import CheckpointError, Tensors
from sfumato.networks.configs import AutoencoderConfig, TextEncoderConfig, UNetConfig


def from_kerascv(weights: list[Weight]) -> tuple[str, Tensors]:
    """The part that a KerasCV .h5 file holds, and its tensors by native name.

    Returns:
        "unet", "text_encoder", "decoder" or "image_encoder", and views in PyTorch's layout.

    Raises:
        CheckpointError: these are not the arrays of one of KerasCV's networks.
    """
    part, names = _order(len(weights))
    tensors: Tensors = {}
    for name, weight in zip(names, weights, strict=True):
        leaf = weight.name.rpartition("/")[2].partition(":")[0]
        if (leaf in {"bias", "beta"}) != name.endswith(".bias"):
            raise CheckpointError(
                f"A .h5 file must have the arrays in the order of KerasCV's {part}. "
                f"Received: {weight.name!r} where {name!r} belongs"
            )
        is_embedding = name.endswith("embedding.weight")
        tensors[name] = weight.array if is_embedding else _as_pytorch(weight.array)
    return part, tensors


def _order(count: int) -> tuple[str, list[str]]:
    """The part with this number of arrays, and their names in the order of the file."""
    orders = {
        "unet": _names(layout.unet(UNetConfig())),
        "decoder": _names(layout.decoder(AutoencoderConfig())),
        "image_encoder": _names(layout.image_encoder(AutoencoderConfig())),
    }
    for part, names in orders.items():
        if len(names) == count:
            return part, names
    names = _names(layout.text_encoder(TextEncoderConfig(layers=(count - 4) // 16)))
    if count > 4 and len(names) == count:
        return "text_encoder", names
    counts = {part: len(names) for part, names in orders.items()}
    raise CheckpointError(
        f"A KerasCV .h5 file must have {counts} arrays, or 16 per layer and 4 (text encoder). "
        f"Received: {count} arrays"
    )


def _names(tensors: layout.Layout) -> list[str]:
    return [name for name, _ in tensors]


def _as_pytorch(array: np.ndarray) -> np.ndarray:
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)  # (h, w, I, O) -> (O, I, h, w)
    return array.T if array.ndim == 2 else array
