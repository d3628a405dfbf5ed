"""The operations that a backend computes better than Keras, and how it stores a weight.

Each is one function here and one in the file of the backend in use; what backends share is in
``common`` and ``xla``. Networks call these and name no backend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from sfumato.runtime import backend_module

Tensor = Any

_backend: Any = backend_module(__name__)

# How a weight is stored

TAKES_VIEWS: bool = _backend.TAKES_VIEWS
"""Whether ``store`` takes arrays as they lie in the file: views of it, half precision included.
Elsewhere values are best written to ``empty`` memory in the dtype of the variable."""


def require_training() -> None:
    """Raise a NotImplementedError unless the backend computes gradients."""
    if not _backend.TRAINS:
        raise NotImplementedError(
            "The Keras backend must be one that trains: set KERAS_BACKEND to 'jax', "
            "'tensorflow' or 'torch' before the first import of Sfumato or Keras. "
            f"Received: KERAS_BACKEND={keras.backend.backend()!r}, which makes pictures only"
        )


def store(variable: keras.Variable, value: Any) -> Any:
    """Give a variable a value, whether it has one or not; return what it held, for ``restore``.

    Args:
        variable: of a layer that is built.
        value: a NumPy array or a tensor of the backend, of the shape that Keras has for it. It
            belongs to the variable from then on: its memory may be shared, never written to.

    Returns:
        An object of the backend, or None if the variable had no value.

    Raises:
        ValueError: the shapes differ.
    """
    if tuple(value.shape) != tuple(variable.shape):
        raise ValueError(
            f"`value` must have the shape of {variable.path}, {tuple(variable.shape)}. "
            f"Received: value of shape {tuple(value.shape)}"
        )
    return _backend.store(variable, value)


def restore(variable: keras.Variable, previous: Any) -> None:
    """Put back what ``store`` returned: the same memory, so the same bits."""
    _backend.restore(variable, previous)


def empty(
    shape: tuple[int, ...],
    dtype: np.dtype,
    is_kernel: bool,
    allocate: Callable[[tuple[int, ...], np.dtype], np.ndarray] = np.empty,
) -> np.ndarray:
    """Memory for a value, in the order in which ``store`` takes it over without copying.

    Args:
        shape: that Keras has for it.
        dtype: of the variable.
        is_kernel: of a linear layer or a convolution: (..., I, O).
        allocate: (shape, dtype) -> contiguous memory.
    """
    return _backend.empty(shape, dtype, is_kernel, allocate)
