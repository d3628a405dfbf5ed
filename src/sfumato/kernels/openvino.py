"""Kernels for OpenVINO."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import openvino as ov
import openvino.opset16 as opset
from keras.src.backend.openvino.core import OPENVINO_DTYPES, OpenVINOKerasTensor

from sfumato._openvino import constant
from sfumato.kernels import common
from sfumato.kernels.common import empty, is_kernel, restore

__all__ = ["TAKES_VIEWS", "TRAINS", "empty", "restore", "store"]

# How a weight is stored

TAKES_VIEWS = True
TRAINS = False
HALVES = ("float16", "bfloat16")


def store(variable: Any, value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return common.store(variable, value)
    previous = variable._value
    dtype = keras.backend.standardize_dtype(variable.dtype)
    variable._value = weight(value, dtype, is_kernel(variable))
    return previous


def weight(value: np.ndarray, dtype: str, is_kernel: bool) -> Any:
    """A tensor of the Keras OpenVINO backend from ``value``, sharing its memory.

    OpenVINO wants a kernel with its outputs first, as PyTorch's files have it, and turning (I, O)
    and (h, w, I, O) takes it most of the time of compiling. So that is the order in memory, and a
    transposition in the graph gives the kernel its Keras shape; ``runtime.openvino`` drops it.
    A view of memory in that order is taken as it is, half precision for float32 included: the graph
    widens it. Anything else is copied, and so is bfloat16.
    """
    if not (value.dtype.name in HALVES and dtype == "float32"):
        value = value.astype(dtype, copy=False)
    rank = value.ndim
    axes = (rank - 1, rank - 2, *range(rank - 2))  # (h, w, I, O) -> (O, I, h, w)
    is_turned = is_kernel and rank > 1
    stored = constant(np.ascontiguousarray(value.transpose(axes) if is_turned else value))
    if value.dtype.name != dtype:
        stored = opset.convert(stored, OPENVINO_DTYPES[dtype])
    if is_turned:
        stored = opset.transpose(stored, opset.constant(np.argsort(axes), ov.Type.i32))
    return OpenVINOKerasTensor(stored.output(0))
