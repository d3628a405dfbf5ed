"""How a function of the networks becomes an executable, on each backend behind one interface.

A backend's module has ``compile(function, networks, jit_compile) -> Program``. A program takes
trees of arrays of NumPy or of the backend and returns trees of the backend's (OpenVINO: of
NumPy's); None stands for an input that is absent, and each pattern of absent inputs is an
executable of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol

import keras


class Program(Protocol):
    def __call__(self, *args: Any) -> Any: ...


def compile(
    function: Callable[..., Any], networks: Sequence[keras.Model], jit_compile: bool
) -> Program:
    """``function``, which reads the variables of ``networks``, as an executable.

    Args:
        function: pure but for those variables; its arguments and results are trees of arrays.
        networks: the Keras models that it calls. Later changes of their variables' values (``fit``,
            ``load_weights``) are seen: these are inputs of the executable (on OpenVINO, it compiles
            anew). Other variables than those of now (Keras' ``quantize``) are not.
        jit_compile: compile the whole with XLA (torch: inductor); otherwise run it without:
            in graph mode on TensorFlow, op by op on JAX and torch.
    """
    return backend_module(__name__).compile(function, networks, jit_compile)


def quantize(programs: Sequence[Program], run: Callable[[], Any], settings: str) -> None:
    """Have programs compute in int8 as ``run`` shows: see ``runtime.openvino.quantize``."""
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


def backend_module(package: str) -> Any:
    """The module of a package that serves the Keras backend in use and bears its name."""
    name = keras.backend.backend()
    if name not in ("jax", "tensorflow", "torch", "openvino"):
        raise ValueError(
            "The Keras backend must be 'jax', 'tensorflow', 'torch' or 'openvino'. "
            f"Received: KERAS_BACKEND={name!r}"
        )
    return import_module(f"{package}.{name}")
