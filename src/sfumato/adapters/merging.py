"""LoRAs merged into the weights of networks in use, and taken out again, bit for bit.

A merged weight is computed in float32 from the original one, never from a merged one, and stored in
its place. The original stays as the object of the backend that it was, and goes back by reference.
Programs see new values of variables by themselves, so that nothing is compiled again (OpenVINO has
weights within its executables).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import keras
import numpy as np

from sfumato import kernels
from sfumato.adapters.lora import Lora
from sfumato.adapters.updates import Update
from sfumato.checkpoints.tensors import Tensors
from sfumato.checkpoints.weights import assemble, is_kernel, sources
from sfumato.networks.network import Block, keys

Weights = float | Mapping[str, float]
"""The strength of a LoRA; or of its parts: "unet", "text" and native names of blocks, such as
"down_blocks.1" or "mid_block.attentions". The longest name counts; what none names has 1."""


class Use(NamedTuple):
    """A LoRA and its strength."""

    lora: Lora
    weights: Weights = 1.0

    def strength(self, part: str, name: str) -> float:
        """The strength for a tensor of a part."""
        if not isinstance(self.weights, Mapping):
            return self.weights
        pieces = name.split(".")
        places = [".".join(pieces[:n]) for n in range(len(pieces), 0, -1)]
        places += [part, "unet" if part == "unet" else "text"]
        return next((self.weights[x] for x in places if x in self.weights), 1.0)


class Kept(NamedTuple):
    """A variable that holds a merged weight."""

    variable: keras.Variable
    original: Any
    witness: Any


class Merger:
    """The LoRAs that are in some networks at the moment."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []

    def merge(
        self,
        networks: Mapping[str, Block],
        uses: Sequence[Use],
        files: Mapping[str, Tensors] | None = None,
    ) -> None:
        """Take out what is there and merge LoRAs, file after file, in their order.

        Args:
            networks: by the checkpoint's names of parts.
            uses: none: the networks are as they were.
            files: tensors by native name, for networks of half precision whose values were taken
                from them: there the weights of the files are the more exact ones.
        """
        self.remove()
        try:
            for part, network in networks.items():
                changes = changes_of(part, uses)
                wanted = {
                    key: variable
                    for key, variable in keys(network).items()
                    if any(name in changes for name in sources(key))
                }
                self._merge(wanted, changes, (files or {}).get(part, {}))
        except BaseException:
            self.remove()
            raise

    def _merge(
        self,
        variables: Mapping[str, keras.Variable],
        changes: Mapping[str, list[tuple[Update, float]]],
        file: Tensors,
    ) -> None:
        def merged(item: tuple[str, keras.Variable]) -> np.ndarray:
            key, variable = item
            tensors = originals(key, variable, file)
            for name in tensors:
                for update, strength in changes.get(name, ()):
                    tensors[name] = update(tensors[name], strength)
            shape = tuple(variable.shape)
            room = kernels.empty(shape, np.dtype("float32"), is_kernel(key, len(shape)))
            return assemble(key, tensors, room)

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            values = pool.map(merged, variables.items())
            for variable, value in zip(variables.values(), values, strict=True):
                original = kernels.store(variable, value)
                self.kept.append(Kept(variable, original, kernels.witness(variable)))

    def remove(self) -> None:
        """Put the original weights back.

        Warns:
            UserWarning: somebody assigned values since; those stay.
        """
        changed = []
        while self.kept:
            variable, original, witness = self.kept.pop()
            if kernels.is_witness(variable, witness):
                kernels.restore(variable, original)
            else:
                changed.append(str(variable.path))
        if changed:
            warnings.warn(
                f"{len(changed)} weights were assigned while a LoRA was merged into them and stay "
                f"as they are, such as {changed[0]!r}. Change networks before pictures with a LoRA",
                stacklevel=2,
            )


def changes_of(part: str, uses: Sequence[Use]) -> dict[str, list[tuple[Update, float]]]:
    """The updates of each tensor of a part, with their strengths; none of strength 0."""
    found: dict[str, list[tuple[Update, float]]] = {}
    for use in uses:
        for name, update in use.lora.updates.get(part, {}).items():
            if strength := use.strength(part, name):
                found.setdefault(name, []).append((update, strength))
    return found


def originals(key: str, variable: keras.Variable, file: Tensors) -> Tensors:
    """The weights in a variable, float32, by native name in PyTorch's order."""
    value = kernels.read(variable)
    names = sources(key)
    is_half = value.dtype != np.float32 and all(name in file for name in names)
    if is_half and np.array_equal(assemble(key, file).astype(value.dtype), value):
        return {name: flat_kernel(file[name]).astype("float32") for name in names}
    value = value.astype("float32", copy=False)
    if is_kernel(key, value.ndim):
        value = np.moveaxis(value, (-1, -2), (0, 1))
    return dict(zip(names, np.split(value, len(names)), strict=True))


def flat_kernel(tensor: np.ndarray) -> np.ndarray:
    """The tensor, of a 1x1 convolution as of a linear layer."""
    return tensor[:, :, 0, 0] if tensor.shape[2:] == (1, 1) else tensor
