"""The values of JAX variables in the dtype in which they are computed with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras


def reader(networks: Sequence[keras.Model]) -> Callable[[], list[jax.Array]]:
    """A function that returns the values of all variables, ready for a program.

    Under a mixed policy they are stored in float32 and computed with in half precision. Keras casts
    them whenever they are used, so every step would read and write all weights once more; here
    each is cast once, and again when it has another value.
    """
    variables = [v for network in networks for v in network.variables]
    if all(network.compute_dtype == network.variable_dtype for network in networks):
        # Not `value`: that property looks at Keras' scopes, 0.6 ms for a U-Net at every step.
        return lambda: [variable._value for variable in variables]
    dtypes = [jnp.dtype(network.compute_dtype) for network in networks for _ in network.variables]
    pairs = list(zip(variables, dtypes, strict=True))
    return lambda: [computed(variable, dtype) for variable, dtype in pairs]


def computed(variable: Any, dtype: Any) -> jax.Array:
    """The value of a variable in a dtype. The copy stays with the variable, for all programs."""
    value = variable._value
    casts = variable._autocast and keras.backend.is_float_dtype(variable.dtype)
    if value.dtype == dtype or not casts:
        return value
    source, copy = getattr(variable, "_computed", (None, value))
    if source is not value or copy.dtype != dtype:
        copy = value.astype(dtype)
        variable._computed = (value, copy)
    return copy
