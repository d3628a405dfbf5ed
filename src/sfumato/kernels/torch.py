"""Kernels for PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import torch
from keras import ops

from sfumato.kernels.common import TAKES_VIEWS, TRAINS, initialize, is_kernel

__all__ = ["TAKES_VIEWS", "TRAINS", "empty", "restore", "store"]

# How a weight is stored: a kernel has Keras' shape (h, w, I, O), and (O, h, w, I) is its order in
# memory, so that no convolution has to turn it.


def store(variable: Any, value: Any) -> Any:
    """Graphs hold on to the parameter, so it stays, and other memory is put into it: Keras would
    write to the memory that is to be put back."""
    if isinstance(value, np.ndarray):
        value = tensor_of(value)
    value = ops.convert_to_tensor(value, dtype=variable.dtype)
    if is_kernel(variable):
        value = value.movedim(-1, 0).contiguous().movedim(0, -1)
    if variable._value is None:
        initialize(variable, value)
        return None
    previous = variable._value.data
    variable._value.data = value.detach()
    return previous


def restore(variable: Any, previous: Any) -> None:
    if previous is None:
        variable._value = None
    else:
        variable._value.data = previous


def tensor_of(value: np.ndarray) -> torch.Tensor:
    """An array as a tensor that shares its memory."""
    if value.dtype == ml_dtypes.bfloat16:  # NumPy's is unknown to PyTorch
        return torch.from_numpy(value.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(value)


def empty(
    shape: tuple[int, ...],
    dtype: np.dtype,
    is_kernel: bool,
    allocate: Callable[[tuple[int, ...], np.dtype], np.ndarray],
) -> np.ndarray:
    if not is_kernel:
        return allocate(shape, dtype)
    return np.moveaxis(allocate((shape[-1], *shape[:-1]), dtype), 0, -1)
