"""A T2I-Adapter's file, of diffusers' or of the original names."""

from __future__ import annotations

import re
from pathlib import Path

from sfumato.checkpoints.architecture import shapes_of
from sfumato.checkpoints.tensors import CheckpointError, Tensors, rename
from sfumato.networks.configs import T2IAdapterConfig, UNetConfig

PREFIX = "adapter."
SQUARES = {64: (1, 8), 192: (3, 8), 256: (1, 16), 768: (3, 16)}
"""The channels of a picture whose squares are folded -> its own channels, and pixels of a side."""
FULL = re.compile(r"body\.(\d{1,2})\.(in_conv|block1|block2)\.(weight|bias)")
NAMES = re.compile(r"(adapter\.)?body\.\d+\.(in_conv|resnets|block1|body)\.")
COUNT = 2  # residual blocks of a level in the original's numbers


def is_t2i(names: Tensors) -> bool:
    """Whether these are the names of a T2I-Adapter."""
    return any(map(NAMES.match, names))


def read_t2i(path: Path, tensors: Tensors, base: UNetConfig) -> tuple[T2IAdapterConfig, Tensors]:
    """The configuration and the tensors by diffusers' names, of a T2I-Adapter for a U-Net.

    Raises:
        CheckpointError: it is damaged, or made for models of another family.
    """
    tensors = rename(tensors, lambda name: name.removeprefix(PREFIX))
    is_light = "conv_in.weight" not in tensors
    if not any(".resnets." in name for name in tensors):  # the authors' names
        tensors = rename(tensors, _light_name if is_light else _full_name)
    shapes = shapes_of(tensors)
    try:
        first = shapes["body.0.in_conv.weight" if is_light else "conv_in.weight"][1]
        channels, scale = SQUARES[first]
        last = "out_conv" if is_light else "resnets.0.block2"
        levels = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("body."))
        widths = tuple(shapes[f"body.{i}.{last}.weight"][0] for i in range(levels))
        count = 1 + max(int(m[1]) for n in shapes if (m := re.search(r"resnets\.(\d{1,2})\.", n)))
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"`{path}` is no sound T2I-Adapter: {error}") from error
    is_xl = scale == 16
    if is_xl != (base.added_width > 0):
        kind, mine = ("XL", "none of it") if is_xl else ("1.x or 2.x", "of XL")
        made = f"The T2I-Adapter `{path}` is made for models of the kind {kind}"
        raise CheckpointError(f"{made}, and the model is {mine}.")
    if levels > 4 or widths != (*base.channels, base.channels[-1])[:levels]:
        raise CheckpointError(
            f"The levels of the T2I-Adapter `{path}` must be as wide as the model's, "
            f"{base.channels}. Received: {widths}"
        )
    halves = tuple(i == 2 if is_xl else i > 0 for i in range(levels))
    return T2IAdapterConfig(channels, scale, widths, halves, count, is_light), tensors


def _full_name(name: str) -> str:
    if not (match := FULL.fullmatch(name)):
        return name
    level, number = divmod(int(match[1]), COUNT)
    inner = "" if match[2] == "in_conv" else f"resnets.{number}."
    return f"body.{level}.{inner}{match[2]}.{match[3]}"


def _light_name(name: str) -> str:
    return re.sub(r"^(body\.\d{1,2}\.)body\.", r"\1resnets.", name)
