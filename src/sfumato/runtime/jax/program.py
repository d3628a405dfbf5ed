"""Programs for JAX: each one whole through XLA, its executables kept on disk.

A later process takes the executable from the disk without tracing or lowering anything, which
takes longer than reading it does. So the name of an entry must be known without a trace: see
``identity``. (JAX's own persistent cache is asked with the lowered program.)
"""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import keras
from jax.experimental import serialize_executable

from sfumato.runtime import cache, recent, static_key
from sfumato.runtime.jax import identity, values

KEPT = 8  # executables of a program that stay in memory, as many megabytes each
DISABLED = "jax_disable_jit"  # by which users look into a computation
OWN_CACHE = "jax_compilation_cache_dir"
PRECISION = "jax_default_matmul_precision"  # the setting that users change for single calls


class Program:
    def __init__(
        self, function: Callable[..., Any], networks: Sequence[keras.Model], jit_compile: bool
    ) -> None:
        self.function = function
        self.jit_compile = jit_compile
        self.variables = [v for network in networks for v in network.variables]
        self.values = values.reader(networks)
        self.traces = 0  # how often Python walked through the function: once per executable
        self.executables: dict[Any, Callable[..., Any]] = {}  # the latest used is last
        self.lock = threading.Lock()  # two threads would compile the same

    def pure(self, given: list[jax.Array], *args: Any, **static: Any) -> Any:
        """The function with its variables as arguments, so that weights are not constants."""
        self.traces += 1
        with keras.StatelessScope(initialize_variables=False) as scope:
            # Not `state_mapping`, which would cast them back to the dtype of storage.
            for update in zip(self.variables, given, strict=True):
                scope.add_update(update)
            return self.function(*args, **static)

    def __call__(self, *args: Any, **static: Any) -> Any:
        given = self.values()
        if not self.jit_compile or getattr(jax.config, DISABLED):
            return self.pure(given, *args, **static)
        leaves, structure = jax.tree.flatten(args)
        precision = getattr(jax.config, PRECISION)
        shapes = [(x.shape, x.dtype) for x in leaves]
        key = (static_key(static), structure, precision, *shapes)
        with self.lock:
            make = partial(self.executable, key, given, args, static)
            run = recent(self.executables, key, make, KEPT)
        return run(given, *args)

    def executable(
        self, key: Any, given: list[jax.Array], args: Any, static: dict[str, Any]
    ) -> Callable[..., Any]:
        """From the disk, else compiled and kept there."""
        run = jax.jit(partial(self.pure, **static))
        devices = {device for value in given for device in value.sharding.device_set}
        if len(devices) > 1:
            return run  # which follows the variables to where they are
        device = devices.pop() if devices else jax.devices()[0]
        path = self.path(key, given, device)
        found = None if path is None else read(path, device)
        if found is None:
            found = run.lower(given, *args).compile()
            if path is not None:
                write(path, found)
        return found

    def path(self, key: Any, given: list[jax.Array], device: Any) -> Path | None:
        """The file of an executable, or None if it is not to be kept.

        What JAX takes from a cache of its own, which some users switch on, can't be written again.
        """
        folder = cache.directory()
        if folder is None or self.identity is None or getattr(jax.config, OWN_CACHE):
            return None
        kinds = [(x.shape, x.dtype) for x in given]
        parts = (self.identity, key, kinds, surroundings(device))
        return folder / "jax" / hashlib.sha256(repr(parts).encode()).hexdigest()

    @cached_property
    def identity(self) -> Any:
        """Of the function and the networks in it; None: its executables are not kept."""
        try:
            return identity.describe(self.function)
        except identity.UnknownError:
            return None


def compile(
    function: Callable[..., Any], networks: Sequence[keras.Model], jit_compile: bool
) -> Program:
    return Program(function, networks, jit_compile)


def surroundings(device: Any) -> Any:
    """The rest that decides on the code of an executable: versions, device, switches."""
    return (
        identity.surroundings(("jax", "jaxlib")),
        (device.platform, device.device_kind, device.client.platform_version, device.id),
        [(name, getattr(jax.config, name, None)) for name in sorted(jax.config.values)],
        [(name, os.environ[name]) for name in sorted(os.environ) if is_switch(name)],
        (keras.config.image_data_format(), keras.config.is_flash_attention_enabled()),
    )


def is_switch(name: str) -> bool:
    """Whether a variable of the environment may change what is compiled."""
    return name.startswith(("XLA_", "LIBTPU_", "NVIDIA_", "SFUMATO_")) and name != cache.FOLDER


def write(path: Path, executable: jax.stages.Compiled) -> None:
    """Write an executable, unless its platform cannot."""
    with suppress(ValueError, NotImplementedError, jax.errors.JaxRuntimeError):
        cache.write(path, pickle.dumps(serialize_executable.serialize(executable)))


def read(path: Path, device: Any) -> Callable[..., Any] | None:
    """The executable that ``write`` wrote, or None when there is none that can be used."""
    content = cache.read(path)
    if content is None:
        return None
    try:
        return serialize_executable.deserialize_and_load(
            *pickle.loads(content), backend=device.client, execution_devices=[device]
        )
    except (pickle.UnpicklingError, ValueError, jax.errors.JaxRuntimeError):
        return None  # intact, but not for this machine
