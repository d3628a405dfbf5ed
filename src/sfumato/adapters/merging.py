"""LoRAs merged into the weights of networks in use, and taken out again, bit for bit.

A merged weight is computed in float32 from the original one, never from a merged one, and stored in
its place. The original stays as the object of the backend that it was, and goes back by reference.
Programs see new values of variables by themselves, so that nothing is compiled again (OpenVINO has
weights within its executables).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np

from sfumato import kernels
from sfumato.adapters.lora import Lora
from sfumato.adapters.updates import Update
from sfumato.checkpoints.copying import Arena, ahead, widen
from sfumato.checkpoints.tensors import Tensors
from sfumato.checkpoints.weights import assemble, is_kernel, sources
from sfumato.networks.network import Block, keys

Weights = float | Mapping[str, float]
"""The strength of a LoRA; or of its parts: "unet", "text" and native names of blocks, such as
"down_blocks.1" or "mid_block.attentions". The longest name counts; what none names has 1."""

BLOCK = 2**14
"""Numbers that are widened at a time."""


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
            for variable, value in ahead(jobs(networks, uses, files or {})):
                previous = kernels.store(variable, value)
                self.kept.append(Kept(variable, previous, kernels.witness(variable)))
        except BaseException:
            self.remove()
            raise

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


def jobs(
    networks: Mapping[str, Block], uses: Sequence[Use], files: Mapping[str, Tensors]
) -> Iterator[tuple[keras.Variable, Callable[[], np.ndarray]]]:
    """The variables to change, and the computation of their values."""
    arena = Arena()
    for part, network in networks.items():
        changes = changes_of(part, uses)
        for key, variable in keys(network).items():
            if any(name in changes for name in sources(key)):
                shape, turned = tuple(variable.shape), is_kernel(key, len(variable.shape))
                room = kernels.empty(shape, np.dtype("float32"), turned, arena.empty)
                yield variable, partial(merged, key, variable, changes, files.get(part, {}), room)


def merged(
    key: str,
    variable: keras.Variable,
    changes: Mapping[str, Sequence[tuple[Update, float]]],
    file: Tensors,
    room: np.ndarray,
) -> np.ndarray:
    """The value of a variable with all changes, float32, in ``room``, in its order."""
    value = original(key, variable, file)
    turned = is_kernel(key, value.ndim)
    names = sources(key)
    places = split(value, turned, len(names)), split(room, turned, len(names))
    for name, weight, place in zip(names, *places, strict=True):
        # Most changes need not see the weight, and are added to it together.
        total: np.ndarray | None = None
        for update, strength in changes.get(name, ()):
            seen = weight
            if update.reads_weight:
                seen = weight.astype("float32") if total is None else weight + total
            change = update.change(seen, strength)
            total = change if total is None else np.add(total, change, out=total)
        add(weight, total, place)
    return room


def add(weight: np.ndarray, change: np.ndarray | None, out: np.ndarray) -> None:
    """weight + change, in blocks of rows that stay in the fast cache while they are widened."""
    is_half = weight.dtype == np.float16
    rows = max(1, BLOCK // math.prod(weight.shape[1:])) if is_half else len(weight)
    for start in range(0, len(weight), rows):
        some = slice(start, start + rows)
        part = widen(weight[some]) if is_half else weight[some]
        np.add(part, 0 if change is None else change[some], out=out[some])


def split(value: np.ndarray, turned: bool, count: int) -> list[np.ndarray]:
    """The value by its sources, in PyTorch's order of axes; views."""
    return np.split(np.moveaxis(value, (-1, -2), (0, 1)) if turned else value, count)


def original(key: str, variable: keras.Variable, file: Tensors) -> np.ndarray:
    """The weights in a variable; the more exact ones of the file if they are from it.

    They are float32, or float16 that is yet to be widened.
    """
    value = kernels.read(variable)
    if variable.dtype != "float32" and all(name in file for name in sources(key)):
        exact = assemble(key, file)
        if np.array_equal(exact.astype(value.dtype), value):
            value = exact
    return value if value.dtype == np.float16 else value.astype("float32", copy=False)
