"""Programs for JAX whose batch is shared among devices: each paints some of the pictures.

Every device has all weights. The programs are those of one device, partitioned by XLA: how arrays
are spread decides on where something is computed and never on what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sfumato.runtime.jax import program

PICTURES = "pictures"
"""The name of the only axis of devices."""
RANK = 4
"""Axes of a batch of pictures or latents, (B, H, W, C); those of words are fewer."""


class Program(program.Program):
    def __init__(
        self, function: Callable[..., Any], networks: Sequence[keras.Model], jit_compile: bool
    ) -> None:
        super().__init__(function, networks, jit_compile)
        self.mesh = Mesh(np.array(jax.local_devices()), (PICTURES,))
        self.everywhere = NamedSharding(self.mesh, PartitionSpec())

    def __call__(self, *args: Any, **static: Any) -> Any:
        for variable in self.variables:
            # In its place, so that the device it came from does not hold two.
            if variable._value.sharding != self.everywhere:
                variable._value = jax.device_put(variable._value, self.everywhere)
        return super().__call__(*jax.tree.map(self.placed, args), **static)

    def pure(self, given: list[jax.Array], *args: Any, **static: Any) -> Any:
        """As for one device. Results lie as arguments do, so the next call finds them in place."""
        results = super().pure(given, *args, **static)
        place = jax.lax.with_sharding_constraint
        return jax.tree.map(lambda y: place(y, self.sharding(y.shape)), results)

    def placed(self, x: Any) -> jax.Array:
        """An argument where the program wants it."""
        wanted = self.sharding(x.shape)
        return x if getattr(x, "sharding", None) == wanted else jax.device_put(x, wanted)

    def sharding(self, shape: tuple[int, ...]) -> NamedSharding:
        """Along the batch if it can be divided; tables and small arrays are everywhere.

        The batch is the first axis, or the one before a picture's three: states of the loop have
        several batches.
        """
        axis = max(0, len(shape) - RANK)
        if len(shape) < RANK - 1 or shape[axis] % self.mesh.size:
            return self.everywhere
        return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, PICTURES))


def compile(
    function: Callable[..., Any], networks: Sequence[keras.Model], jit_compile: bool
) -> Program:
    return Program(function, networks, jit_compile)
