"""Programs for TensorFlow: graph mode, with and without XLA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf


class Program:
    def __init__(self, function: Callable[..., Any], jit_compile: bool) -> None:
        self.function = function
        self.traces = 0  # how often Python walked through the function: once per graph
        self.run = tf.function(self.trace, jit_compile=jit_compile, autograph=False)

    def trace(self, *args: Any) -> Any:
        self.traces += 1
        return self.function(*args)

    def __call__(self, *args: Any) -> Any:
        return self.run(*tf.nest.map_structure(to_tensor, args))


def to_tensor(value: Any) -> tf.Tensor | None:
    """Arrays as tensors: a NumPy array would be a constant, and every new one a new graph."""
    return None if value is None else tf.convert_to_tensor(value)


def compile(
    function: Callable[..., Any], networks: Sequence[keras.Model], jit_compile: bool
) -> Program:
    return Program(function, jit_compile)
