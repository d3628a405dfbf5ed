"""The order of the arrays in KerasCV's .h5 files, and so their native names.

The number of arrays in a file says which of the four networks it holds. The order is that of
the layers in KerasCV's code, except that the U-Net, a functional model, is sorted by depth: the
first convolution comes between the two time layers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sfumato.checkpoints.hdf5 import Weight
from sfumato.checkpoints.tensors import CheckpointError, Tensors
from sfumato.networks.configs import AutoencoderConfig, UNetConfig

Names = Iterator[str]

RESNET = ("norm1", "conv1", "norm2", "conv2")
TEXT_LAYER = (
    "layer_norm1",
    *(f"self_attn.{part}" for part in ("q_proj", "k_proj", "v_proj", "out_proj")),
    *("layer_norm2", "mlp.fc1", "mlp.fc2"),
)
MAP_ATTENTION = ("group_norm", "to_q", "to_k", "to_v", "to_out.0")


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
        "unet": list(unet_order(UNetConfig())),
        "decoder": list(decoder_order(AutoencoderConfig())),
        "image_encoder": list(image_encoder_order(AutoencoderConfig())),
    }
    for part, names in orders.items():
        if len(names) == count:
            return part, names
    names = list(text_encoder_order((count - 4) // 16))
    if count > 4 and len(names) == count:
        return "text_encoder", names
    counts = {part: len(names) for part, names in orders.items()}
    raise CheckpointError(
        f"A KerasCV .h5 file must have {counts} arrays, or 16 per layer and 4 (text encoder). "
        f"Received: {count} arrays"
    )


def _as_pytorch(array: np.ndarray) -> np.ndarray:
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)  # (h, w, I, O) -> (O, I, h, w)
    return array.T if array.ndim == 2 else array


def _affine(prefix: str, *parts: str) -> Names:
    for part in parts:
        yield f"{prefix}{part}.weight"
        yield f"{prefix}{part}.bias"


def text_encoder_order(layers: int) -> Names:
    yield "embeddings.token_embedding.weight"
    yield "embeddings.position_embedding.weight"
    for layer in range(layers):
        yield from _affine(f"encoder.layers.{layer}.", *TEXT_LAYER)
    yield from _affine("", "final_layer_norm")


def unet_order(c: UNetConfig) -> Names:
    yield from _affine("", "time_embedding.linear_1", "conv_in", "time_embedding.linear_2")
    for part in c.parts():
        for layer in part.layers():
            yield f"{part.name}.{layer}.weight"
            if not layer.endswith((".to_q", ".to_k", ".to_v")):
                yield f"{part.name}.{layer}.bias"
    yield from _affine("", "conv_norm_out", "conv_out")


def image_encoder_order(c: AutoencoderConfig) -> Names:
    yield from _affine("encoder.", "conv_in")
    width = c.channels[0]
    for level, out in enumerate(c.channels):
        yield from _levels(f"encoder.down_blocks.{level}.", width, out, c.layers)
        width = out
        if level < len(c.channels) - 1:
            yield from _affine(f"encoder.down_blocks.{level}.", "downsamplers.0.conv")
    yield from _middle("encoder.mid_block.")
    yield from _affine("encoder.", "conv_norm_out", "conv_out")
    yield from _affine("", "quant_conv")


def decoder_order(c: AutoencoderConfig) -> Names:
    yield from _affine("", "post_quant_conv", "decoder.conv_in")
    yield from _middle("decoder.mid_block.")
    width = c.channels[-1]
    for level, out in enumerate(c.channels[::-1]):
        yield from _levels(f"decoder.up_blocks.{level}.", width, out, c.layers + 1)
        width = out
        if level < len(c.channels) - 1:
            yield from _affine(f"decoder.up_blocks.{level}.", "upsamplers.0.conv")
    yield from _affine("decoder.", "conv_norm_out", "conv_out")


def _levels(prefix: str, width: int, out: int, layers: int) -> Names:
    for index in range(layers):
        yield from _affine(f"{prefix}resnets.{index}.", *RESNET)
        if index == 0 and width != out:
            yield from _affine(f"{prefix}resnets.{index}.", "conv_shortcut")


def _middle(prefix: str) -> Names:
    yield from _affine(f"{prefix}resnets.0.", *RESNET)
    yield from _affine(f"{prefix}attentions.0.", *MAP_ATTENTION)
    yield from _affine(f"{prefix}resnets.1.", *RESNET)
