"""Corrections of a traced OpenVINO model before it is compiled."""

from __future__ import annotations

from typing import Any

import openvino as ov
import openvino.opset16 as opset

from sfumato.runtime.openvino.graph import (
    FIRST,
    LAST,
    constant,
    data_of,
    order_of,
    replace,
    shaped,
    turn,
)

# Kernels, which `kernels.openvino` stores in the order that OpenVINO wants


def take_stored_kernels(model: ov.Model) -> None:
    """Connect convolutions and matmuls to their kernels as stored, without transpositions.

    OpenVINO would come to the same by transposing the weights there and back again.
    """
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind not in ("Convolution", "MatMul"):
            continue
        stored, order = stored_kernel(node.input_value(1))
        if stored is None:
            continue
        if kind == "Convolution" and order == (0, 1, 2, 3):
            node.input(1).replace_source_output(stored)
        elif kind == "MatMul" and order == (1, 0):
            turned = opset.matmul(node.input_value(0), stored, False, True).output(0)
            replace(node, turned)


def stored_kernel(output: ov.Output) -> tuple[ov.Output | None, tuple[int, ...]]:
    """The constant, cast if it was, that this is made of by the transposition also returned.

    Of a part of a kernel it is a constant of that part of the memory, "NAME/PART".
    """
    node = output.get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        return output, tuple(range(len(output.get_shape())))
    if kind not in ("Transpose", "Convert", "Split"):
        return None, ()
    stored, order = stored_kernel(node.input_value(0))
    if stored is None:
        return None, ()
    if kind == "Convert":
        return convert(stored, node.get_element_type()), order
    axes = node.input_value(1).get_node().data
    if kind == "Transpose":
        return stored, tuple(order[axis] for axis in axes)
    if order[int(axes)] != 0:  # not a part of the memory
        return None, ()
    return part(stored, output.get_index(), node.get_output_size()), order


def part(stored: ov.Output, index: int, count: int) -> ov.Output:
    """One of ``count`` equal parts of the first axis of a constant, cast as that is."""
    node: Any = stored.get_node()
    if node.get_type_name() == "Convert":
        return convert(part(node.input_value(0), index, count), node.get_element_type())
    whole = data_of(node)
    size = len(whole) // count
    rows = constant(whole[index * size :][:size])
    rows.set_friendly_name(f"{node.get_friendly_name()}/{index}")
    return rows.output(0)


def convert(stored: ov.Output, kind: ov.Type) -> ov.Output:
    """A cast, marked so that OpenVINO keeps a matmul's kernel narrow until it packs it."""
    if stored.get_element_type() == kind:  # Keras writes many of these
        return stored
    source: Any = stored.get_node()
    if source.get_type_name() == "Convert" and stored.get_element_type() == ov.Type.f32:
        return convert(source.input_value(0), kind)  # the file's half precision, widened before
    node = opset.convert(stored, kind)
    node.get_rt_info()["decompression_0"] = ""
    return node.output(0)


# Channels, which OpenVINO's convolutions have first and Keras has last

POINTWISE = {"Add": opset.add, "Multiply": opset.multiply, "Swish": opset.swish}


def keep_channels_first(model: ov.Model) -> None:
    """Do with channels first what directly follows a convolution, and turn its result instead.

    Both orders are the same memory to OpenVINO, which stores channels last by itself, but only if a
    turn stands alone: between a convolution and an addition, it copies the map twice.
    """
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        sources = node.input_values()

        if kind == "Convert" and node.get_element_type() == sources[0].get_element_type():
            replace(node, sources[0])  # Keras writes many of these
        if not any(untransposed(x) for x in sources) or len(node.output(0).get_shape()) != 4:
            continue

        if kind in POINTWISE:
            turned = POINTWISE[kind](*(channels_first(x) for x in sources))
        elif kind == "Concat":
            axis = FIRST.index(node.get_axis() % 4)
            turned = opset.concat([channels_first(x) for x in sources], axis)
        elif kind == "Transpose" and order_of(node) == FIRST:
            replace(node, channels_first(sources[0]))
            continue
        else:
            continue

        replace(node, turn(turned.output(0), LAST))


def untransposed(output: ov.Output) -> ov.Output | None:
    """The map that this is with its channels moved last, if it is that."""
    node = output.get_node()
    return node.input_value(0) if order_of(node) == LAST else None


def channels_first(output: ov.Output) -> ov.Output:
    """(B, H, W, C), or what can be broadcast to it, with its channels first."""
    found = untransposed(output)
    if found is not None:
        return found
    shape = list(output.get_shape())
    if not shape:
        return output
    if len(shape) < 4:
        shape = [1] * (4 - len(shape)) + shape
        output = shaped(output, *shape)
    return turn(output, FIRST)
