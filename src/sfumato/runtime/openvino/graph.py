"""Helpers to read and rewrite OpenVINO's graphs: constants, weights, and the order of axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import openvino as ov
import openvino.opset16 as opset

NEAREST = {  # of an Interpolate that makes a map larger by copies of its pixels
    "mode": "nearest",
    "shape_calculation_mode": "scales",
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}
FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)  # channels: where a transposition of a map moves them

# Constants, such as weights


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


def constant_of(output: ov.Output) -> Any:
    """The node that an output comes from, or the one before if that is a cast."""
    node = output.get_node()
    return node.input_value(0).get_node() if node.get_type_name() == "Convert" else node


def kernel_of(node: ov.Node) -> np.ndarray | None:
    """The kernel of a layer, outputs first, as it is stored; None if it is not constant."""
    source = constant_of(node.input_value(1))
    return data_of(source) if source.get_type_name() == "Constant" else None


def name_of(output: ov.Output) -> str:
    """The name of the constant that holds a kernel, the whole one if this is a part."""
    return constant_of(output).get_friendly_name().partition("/")[0]


# Operations


def replace(node: ov.Node, output: ov.Output) -> None:
    """Let everything that reads the node read ``output`` instead."""
    for reader in node.output(0).get_target_inputs():
        reader.replace_source_output(output)


def cast(x: ov.Output, kind: ov.Type) -> ov.Output:
    return x if x.get_element_type() == kind else opset.convert(x, kind).output(0)


def integers(values: Sequence[int]) -> ov.Node:
    return opset.constant(np.array(values, "int64"))


def shaped(x: ov.Output, *shape: int) -> ov.Output:
    return opset.reshape(x, integers(shape), False).output(0)


def turn(x: ov.Output, order: Sequence[int]) -> ov.Output:
    return opset.transpose(x, opset.constant([*order], ov.Type.i32)).output(0)


def order_of(node: ov.Node) -> tuple[int, ...] | None:
    """The order of axes that a transposition makes; None for other nodes."""
    if node.get_type_name() != "Transpose":
        return None
    return tuple(node.input_value(1).get_node().data)
