"""Programs for JAX: each one whole through XLA, kept on disk by JAX's persistent cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import keras

from sfumato.runtime import cache, values


class Program:
    def __init__(
        self, function: Callable[..., Any], networks: Sequence[keras.Model], jit_compile: bool
    ) -> None:
        self.function = function
        self.variables = [v for network in networks for v in network.variables]
        self.values = values.reader(networks)
        self.traces = 0  # how often Python walked through the function: once per executable
        self.run = jax.jit(self.pure) if jit_compile else self.pure

    def pure(self, given: list[jax.Array], *args: Any) -> Any:
        """The function with its variables as arguments, so that weights are not constants."""
        self.traces += 1
        with keras.StatelessScope(initialize_variables=False) as scope:
            # Not `state_mapping`, which would cast them back to the dtype of storage.
            for update in zip(self.variables, given, strict=True):
                scope.add_update(update)
            return self.function(*args)

    def __call__(self, *args: Any) -> Any:
        return self.run(self.values(), *args)


def compile(
    function: Callable[..., Any], networks: Sequence[keras.Model], jit_compile: bool
) -> Program:
    if jit_compile:
        keep_compiled()
    return Program(function, networks, jit_compile)


@lru_cache
def keep_compiled() -> None:
    """Switch JAX's persistent cache on, for every program, unless the user has set it up."""
    folder = cache.directory()
    if folder is None or jax.config.values["jax_compilation_cache_dir"]:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
