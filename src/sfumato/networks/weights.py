"""Weights in the form that OpenVINO compiles fastest."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np


def openvino_weight(value: np.ndarray, kernel: bool) -> Any:
    """A tensor of the Keras OpenVINO backend from ``value``, sharing its memory.

    OpenVINO wants a kernel with its outputs first, as PyTorch's files have it, and turning (I, O)
    and (h, w, I, O) takes it most of the time of compiling. So that is the order in memory, and a
    transposition in the graph gives the kernel its Keras shape; ``runtime.openvino`` drops it.
    A view of memory in that order is taken as it is; anything else is copied, and so is bfloat16.
    """
    import openvino as ov
    import openvino.opset16 as opset
    from keras.src.backend.openvino.core import OpenVINOKerasTensor

    rank = value.ndim
    if not kernel or rank < 2:
        return OpenVINOKerasTensor(_constant(np.ascontiguousarray(value)).output(0))
    axes = (rank - 1, rank - 2, *range(rank - 2))  # (h, w, I, O) -> (O, I, h, w)
    stored = _constant(np.ascontiguousarray(value.transpose(axes)))
    back = opset.constant(np.argsort(axes), ov.Type.i32)
    return OpenVINOKerasTensor(opset.transpose(stored, back).output(0))


def _constant(value: np.ndarray) -> Any:
    import openvino as ov

    if value.dtype != ml_dtypes.bfloat16:
        return ov.op.Constant(value, shared_memory=True)
    # OpenVINO cannot read such an array, and a tensor would not keep the array's memory alive.
    tensor = ov.Tensor(value.view(np.uint16), value.shape, ov.Type.bf16)
    return ov.op.Constant(tensor, shared_memory=False)
