"""What ``networks`` writes for OpenVINO and ``runtime`` finds again: constants, enlarged maps."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import openvino as ov

NEAREST = {  # of an Interpolate that makes a map larger by copies of its pixels
    "mode": "nearest",
    "shape_calculation_mode": "scales",
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}


def constant(value: np.ndarray) -> Any:
    """A node that shares the memory of a contiguous array; of bfloat16 it has a copy."""
    if value.dtype != ml_dtypes.bfloat16:
        return ov.op.Constant(shareable(value), shared_memory=True)
    # OpenVINO cannot read such an array, and a tensor would not keep the array's memory alive.
    tensor = ov.Tensor(value.view(np.uint16), value.shape, ov.Type.bf16)
    return ov.op.Constant(tensor, shared_memory=False)


def data_of(node: Any) -> np.ndarray:
    """The numbers of a constant, in its memory; OpenVINO hands out bfloat16 as float16."""
    value: np.ndarray = node.data
    return value.view(ml_dtypes.bfloat16) if node.get_element_type() == ov.Type.bf16 else value


def shareable(value: np.ndarray) -> np.ndarray:
    """An array, that of a mapped file included, as if it could be written to.

    OpenVINO refuses to share the memory of others, and never writes to it.
    """
    return np.asarray(_Writable(value))


class _Writable:
    def __init__(self, value: np.ndarray) -> None:
        self.value = value  # keeps the memory
        interface = value.__array_interface__
        self.__array_interface__ = interface | {"data": (interface["data"][0], False)}
