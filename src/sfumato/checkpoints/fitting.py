"""Whether tensors fit a network: every one of its names, in its shape, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from sfumato.checkpoints.tensors import CheckpointError, Tensors, listing

Shape = tuple[int, ...]

SCALE = "_scale"
"""``name + SCALE`` holds the scales of the rows of an int8 tensor."""

UNUSED = re.compile(r"(.*\.)?(position_ids|logit_scale|attn_mask)|text_projection(\.weight)?")
"""Tensors that a checkpoint may hold although no network needs them."""


def check(shapes: Mapping[str, Iterable[Shape]], tensors: Tensors, network: str) -> None:
    """Raise one error that names all that keeps the tensors from filling the network.

    Args:
        shapes: of every tensor that the network needs, by name, the usual one first.
        tensors: of the file.
        network: its name for the error.
    """
    found = {name: tensors[name] for name in shapes if name in tensors}
    scales = {
        name + SCALE: [tensor.shape[:1]]
        for name, tensor in found.items()
        if tensor.dtype == np.int8
    }
    wanted = {**shapes, **scales}
    missing = [name for name in wanted if name not in tensors]
    unexpected = [name for name in tensors if name not in wanted and not UNUSED.fullmatch(name)]
    misshapen = [
        f"{name} {tensors[name].shape} instead of {next(iter(possible))}"
        for name, possible in wanted.items()
        if name in tensors and tensors[name].shape not in possible
    ]
    problems = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    if any(problems.values()):
        lists = "; ".join(f"{what}: {listing(names)}" for what, names in problems.items() if names)
        raise CheckpointError(f"The checkpoint does not fit the {network}. {lists}")


def as_stored(shape: Shape) -> list[Shape]:
    """The shapes that a file may have for a tensor: linear layers may be 1x1 convolutions."""
    return [shape, (*shape, 1, 1)] if len(shape) == 2 else [shape]
