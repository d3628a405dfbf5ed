"""Programs for TensorFlow: graph mode, with and without XLA."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from sfumato.runtime import static_key


class Program:
    def __init__(self, function: Callable[..., Any], jit_compile: bool) -> None:
        self.function = function
        self.jit_compile = jit_compile
        self.lock = threading.Lock()
        self.traces = 0  # how often Python walked through the function: once per graph
        # One for each combination of static values: TensorFlow takes 1, 1.0 and True for the same.
        self.functions: dict[str, Callable[..., Any]] = {}

    def trace(self, *args: Any, **static: Any) -> Any:
        self.traces += 1
        return self.function(*args, **static)

    def __call__(self, *args: Any, **static: Any) -> Any:
        key = static_key(static)
        with self.lock:  # two threads would trace the same
            if key not in self.functions:
                function = partial(self.trace, **static)
                make: Any = tf.function
                self.functions[key] = make(function, jit_compile=self.jit_compile, autograph=False)
        return self.functions[key](*tf.nest.map_structure(to_tensor, args))


def to_tensor(value: Any) -> tf.Tensor | None:
    """Arrays as tensors: a NumPy array would be a constant, and every new one a new graph."""
    return None if value is None else tf.convert_to_tensor(value)


def compile(
    function: Callable[..., Any], networks: Sequence[keras.Model], jit_compile: bool
) -> Program:
    return Program(function, jit_compile)
