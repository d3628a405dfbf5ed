"""What the kernels of several backends share, in ``keras.ops``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

# How a weight is stored

TAKES_VIEWS = False
TRAINS = True


def store(variable: Any, value: Any) -> Any:
    """For backends whose variables hold another object after an assignment."""
    previous = variable._value
    if previous is None:
        initialize(variable, ops.convert_to_tensor(value, dtype=variable.dtype))
    else:
        variable.assign(value)
    return previous


def initialize(variable: Any, value: Any) -> None:
    """The first value of a variable, a tensor; Keras need draw none for it any more."""
    variable._initialize(value)
    variable._initializer = None


def restore(variable: Any, previous: Any) -> None:
    variable._value = previous


def empty(
    shape: tuple[int, ...],
    dtype: np.dtype,
    is_kernel: bool,
    allocate: Callable[[tuple[int, ...], np.dtype], np.ndarray],
) -> np.ndarray:
    return allocate(shape, dtype)


def is_kernel(variable: keras.Variable) -> bool:
    """Whether it is of a linear layer or a convolution, (..., I, O)."""
    return variable.name == "kernel"
