"""Weights in the form that OpenVINO compiles fastest."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

HALVES = ("float16", "bfloat16")


def openvino_weight(value: np.ndarray, dtype: str, kernel: bool) -> Any:
    """A tensor of the Keras OpenVINO backend from ``value``, sharing its memory.

    OpenVINO wants a kernel with its outputs first, as PyTorch's files have it, and turning (I, O)
    and (h, w, I, O) takes it most of the time of compiling. So that is the order in memory, and a
    transposition in the graph gives the kernel its Keras shape; ``runtime.openvino`` drops it.
    A view of memory in that order is taken as it is, half precision for float32 included: the graph
    widens it. Anything else is copied, and so is bfloat16.
    """
    import openvino as ov
    import openvino.opset16 as opset
    from keras.src.backend.openvino.core import OPENVINO_DTYPES, OpenVINOKerasTensor

    if not (value.dtype.name in HALVES and dtype == "float32"):
        value = value.astype(dtype, copy=False)
    rank = value.ndim
    axes = (rank - 1, rank - 2, *range(rank - 2))  # (h, w, I, O) -> (O, I, h, w)
    is_turned = kernel and rank > 1
    stored = constant(np.ascontiguousarray(value.transpose(axes) if is_turned else value))
    if value.dtype.name != dtype:
        stored = opset.convert(stored, OPENVINO_DTYPES[dtype])
    if is_turned:
        stored = opset.transpose(stored, opset.constant(np.argsort(axes), ov.Type.i32))
    return OpenVINOKerasTensor(stored.output(0))


def constant(value: np.ndarray) -> Any:
    """A node that shares the memory of a contiguous array; of bfloat16 it has a copy."""
    import openvino as ov

    if value.dtype != ml_dtypes.bfloat16:
        return ov.op.Constant(np.asarray(_Writable(value)), shared_memory=True)
    # OpenVINO cannot read such an array, and a tensor would not keep the array's memory alive.
    tensor = ov.Tensor(value.view(np.uint16), value.shape, ov.Type.bf16)
    return ov.op.Constant(tensor, shared_memory=False)


def data_of(node: Any) -> np.ndarray:
    """The numbers of a constant, in its memory; OpenVINO hands out bfloat16 as float16."""
    import openvino as ov

    value: np.ndarray = node.data
    return value.view(ml_dtypes.bfloat16) if node.get_element_type() == ov.Type.bf16 else value


class _Writable:
    """An array, that of a mapped file included, as if it could be written to.

    OpenVINO refuses to share the memory of others, and never writes to it.
    """

    def __init__(self, value: np.ndarray) -> None:
        self.value = value  # keeps the memory
        interface = value.__array_interface__
        self.__array_interface__ = interface | {"data": (interface["data"][0], False)}
