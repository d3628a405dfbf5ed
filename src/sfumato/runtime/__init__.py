"""Turning a function of the networks into an executable, on each backend behind one interface.

A backend's module has ``compile(function, networks, jit_compile) -> Program``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, TypeVar

import keras

K = TypeVar("K")
V = TypeVar("V")


class Program(Protocol):
    """A function that runs on the device.

    It takes trees of arrays of NumPy or of the backend and returns trees of the backend's
    (OpenVINO: of NumPy's). None stands for an input that is absent.

    Keywords are static: numbers, strings or None, which the function sees as they are. Each
    combination of them is an executable of its own, and so is each pattern of absent inputs.

    Several threads may call it: one waits for the other where the backend wants that.
    """

    def __call__(self, *args: Any, **static: Any) -> Any: ...


def compile(
    function: Callable[..., Any],
    networks: Sequence[keras.Model],
    jit_compile: bool,
    devices: int = 1,
) -> Program:
    """``function``, which reads the variables of ``networks``, as an executable.

    Args:
        function: pure but for those variables; its arguments and results are trees of arrays, its
            keywords plain values.
        networks: the Keras models that it calls. Later changes of their variables' values (``fit``,
            ``load_weights``) are seen: these are inputs of the executable (OpenVINO compiles
            again). Other variables than those of now are not: see ``runtime.contents``.
        jit_compile: compile the whole with XLA (torch: inductor); otherwise run it without:
            in graph mode on TensorFlow, op by op on JAX and torch.
        devices: of ``count_devices``; several share a batch.
    """
    if devices > 1:
        return import_module(f"{__name__}.jax.sharded").compile(function, networks, jit_compile)
    return backend_module(__name__).compile(function, networks, jit_compile)


def count_devices(devices: str | None) -> int:
    """The number of devices that share a batch: 1, or those of this machine for "all".

    Raises:
        ValueError: it is another word, or the Keras backend is not JAX.
    """
    if devices is None:
        return 1
    if devices != "all":
        raise ValueError(f"`devices` must be 'all' or None. Received: devices={devices!r}")
    if keras.backend.backend() != "jax":
        raise ValueError(
            "The Keras backend must be 'jax' for a batch on several devices. "
            f"Received: devices='all', KERAS_BACKEND={keras.backend.backend()!r}"
        )
    return import_module("jax").local_device_count()


def quantize(programs: Sequence[Program], run: Callable[[], Any], settings: str) -> None:
    """Let programs compute in int8 from now on, by how large numbers become in them.

    Args:
        programs: which.
        run: calls them as they will be used, once, all in float32. What is seen is kept on disk.
        settings: what ``run`` depends on besides the weights of each.

    Raises:
        ValueError: the Keras backend is not OpenVINO.
    """
    require_int8()
    backend_module(__name__).quantize(programs, run, settings)


def require_int8() -> None:
    """Raise a ValueError unless programs can be quantised, as they can on OpenVINO."""
    if keras.backend.backend() != "openvino":
        raise ValueError(
            "The Keras backend must be 'openvino' for pictures in int8; on others Keras' own "
            "`model.diffusion_model.quantize('int8')` does it for Dense layers. "
            f"Received: KERAS_BACKEND={keras.backend.backend()!r}"
        )


def recent(kept: dict[K, V], key: K, make: Callable[[], V], most: int) -> V:
    """The value of a key, made if it is not there; ``kept`` has the ``most`` that were used last.

    The caller sees to it that no other thread does the same.
    """
    found = kept.pop(key) if key in kept else make()
    kept[key] = found
    while len(kept) > most:
        del kept[next(iter(kept))]
    return found


def static_key(static: Mapping[str, Any]) -> str:
    """The keywords of a program as a string that only the same values of the same types have.

    Raises:
        TypeError: a value is neither a number nor a string nor None.
    """
    for name, value in static.items():
        if not isinstance(value, (bool, int, float, str, type(None))):
            raise TypeError(
                f"`{name}` must be a number, a string or None, as all keywords of programs. "
                f"Received: {name}={value!r}"
            )
    return repr(sorted(static.items())) if static else ""


def backend_module(package: str) -> Any:
    """The module of a package that serves the Keras backend in use and bears its name."""
    name = keras.backend.backend()
    if name not in ("jax", "tensorflow", "torch", "openvino"):
        raise ValueError(
            "The Keras backend must be 'jax', 'tensorflow', 'torch' or 'openvino'. "
            f"Received: KERAS_BACKEND={name!r}"
        )
    return import_module(f"{package}.{name}")
