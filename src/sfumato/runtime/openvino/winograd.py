"""3x3 convolutions of an OpenVINO model in fewer products (Lavin & Gray 2015, arXiv 1509.09308).

F(m x m, 3 x 3): the results of a tile of m x m positions are linear in the (m + 2)^2 products of
the tile and the kernel, each transformed, instead of in 9 m^2 products. So a convolution becomes as
many matmuls over the channels between small linear maps along rows and columns.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import openvino as ov
import openvino.opset16 as opset

from sfumato.runtime.openvino.graph import (
    FIRST,
    LAST,
    NEAREST,
    cast,
    constant_of,
    integers,
    kernel_of,
    name_of,
    order_of,
    replace,
    shaped,
    shareable,
    turn,
)

STRIP = 2**24  # numbers of a transformed map that are computed at a time
BLOCK = 2**11  # 3x3 kernels that are transformed at a time: they stay in the caches


class Filtering(NamedTuple):
    """The linear maps of F(m, 3): results = outputs @ ((kernels @ kernel) * (inputs @ tile))."""

    inputs: np.ndarray  # (n, r): of r positions, the last two are in the next tile as well
    kernels: np.ndarray  # (n, 3)
    outputs: np.ndarray  # (m, n)


def filtering(inputs: Any, kernels: Any, outputs: Any) -> Filtering:
    return Filtering(*(np.array(x, "float32") for x in (inputs, kernels, outputs)))


F2 = filtering(
    [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
    [[1, 1, 1, 0], [0, 1, -1, -1]],
)
F4 = filtering(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
)
# Of a map before it is made twice as large. A pixel x between p and q becomes
# a p + (b + c) x = (a + b + c) x - a (x - p) and (a + b) x + c q = (a + b + c) x + c (q - x).
ENLARGED = filtering(
    [[-1, 1, 0], [0, 1, 0], [0, -1, 1]],
    [[-1, 0, 0], [1, 1, 1], [0, 0, 1]],
    [[1, 1, 0], [0, 1, 1]],
)


class Kernel(NamedTuple):
    """A convolution's kernel, which becomes an input of the model."""

    kernel: np.ndarray  # (F, C, 3, 3)
    name: str
    way: Filtering
    is_ready: bool  # transformed; else the model does that at every call


def use_winograd(model: ov.Model, most: float) -> list[Kernel]:
    """Replace the convolutions that are faster so, in float32 with constant kernels.

    The transformed kernels become inputs of the model, in the order returned, behind its own. Of
    constants OpenVINO would keep a second copy, packed for matmuls that gain nothing by it.

    Args:
        model: is changed.
        most: bytes of memory for transformed kernels beyond those in use; if they need more, the
            inputs are the kernels as they are, and the model transforms each one at every call.
    """
    ways = [(node, way) for node in model.get_ordered_ops() if (way := choose(node))]
    new = [
        4 * math.prod(shape_of(node, way))
        for node, way in ways
        if (name_of(node.input_value(1)), len(way.inputs)) not in _transformed
    ]
    is_ready = sum(new) <= most
    kernels = []
    for node, way in ways:
        given: Any = kernel_of(node)
        kernels.append(Kernel(given, name_of(node.input_value(1)), way, is_ready))
        kernel = kernel_input(model, node, way, is_ready)
        x = channels_last(node.input_value(0))
        x = x if way is not ENLARGED else x.get_node().input_value(0)
        y = cast(convolve(cast(x, ov.Type.f32), kernel, len(given), way), x.get_element_type())
        for reader in node.output(0).get_target_inputs():
            if order_of(reader.get_node()) == LAST:
                replace(reader.get_node(), y)
            else:
                reader.replace_source_output(turn(y, FIRST))
    return kernels


def shape_of(node: ov.Node, way: Filtering) -> tuple[int, int, int]:
    """The shape (n n, F, C) of a convolution's kernel, transformed."""
    F, C, *_ = node.get_input_shape(1)
    return len(way.inputs) ** 2, F, C


def kernel_input(model: ov.Model, node: ov.Node, way: Filtering, is_ready: bool) -> ov.Output:
    """A convolution's transformed kernel (n n, F, C), from a new input of the model."""
    nn, F, C = shape_of(node, way)
    kind = ov.Type.f32 if is_ready else constant_of(node.input_value(1)).get_element_type()
    # Of an input whose size it knows, OpenVINO makes a copy while it compiles.
    given = opset.parameter([nn, -1, C] if is_ready else [-1, 9], kind)
    model.add_parameters([given])
    if is_ready:
        return given.output(0)
    flat = cast(shaped(given.output(0), F * C, 9), ov.Type.f32)
    matrix = opset.constant(np.kron(way.kernels, way.kernels))
    return shaped(opset.matmul(matrix, flat, False, True).output(0), nn, F, C)


def choose(node: ov.Node) -> Filtering | None:
    """The fastest way, or None: to convolve directly.

    The transformed kernels of F(4 x 4) are four times as large as the kernels, so they are for
    large maps, whose kernels are small. Those of F(2 x 2) are 1.8 times as large, less than the two
    copies that OpenVINO keeps of a convolution's. Those of enlarged maps are as large as before.
    """
    if node.get_type_name() != "Convolution" or kernel_of(node) is None:
        return None
    (_, C, H, W), (F, _, *kernel) = node.get_input_shape(0), node.get_input_shape(1)
    is_plain = (*kernel, *node.get_output_shape(0)[2:]) == (3, 3, H, W)  # neither stride nor edges
    if not is_plain or min(C, F) < 64 or H * W < 64:
        return None
    if is_enlarged(channels_last(node.input_value(0)).get_node()):
        return ENLARGED
    return F4 if H * W >= 4096 else F2


def is_enlarged(node: ov.Node) -> bool:
    """Whether this made a map (B, H, W, C) twice as large, as ``kernels.openvino`` does."""
    if node.get_type_name() != "Interpolate":
        return False
    B, H, W, C = node.get_input_shape(0)
    doubled = list(node.get_output_shape(0)) == [B, 2 * H, 2 * W, C]
    return doubled and NEAREST.items() <= node.get_attributes().items()


def convolve(x: ov.Output, kernel: ov.Output, F: int, way: Filtering) -> ov.Output:
    """x (B, H, W, C) and the transformed kernel (n n, F, C) -> (B, H, W, F), or twice that size."""
    B, H, W, C = x.get_shape()
    n, r = way.inputs.shape
    step = r - 2
    h, w = -(-H // step), -(-W // step)
    height, width = step * h + 2, step * w + 2
    edges = [0, 1, 1, 0], [0, height - 1 - H, width - 1 - W, 0]
    x = opset.pad(x, *map(integers, edges), "constant", opset.constant(np.float32(0))).output(0)
    x = shaped(x, -1, C)
    positions = np.arange(B * height * width, dtype="int32").reshape(B, height, width)
    windows = np.lib.stride_tricks.sliding_window_view(positions, (r, r), (1, 2))
    windows = windows[:, ::step, ::step]  # (B, h, w, r, r)
    rows = max(1, STRIP // (n * n * B * w * C))
    strips = [windows[:, top : top + rows] for top in range(0, h, rows)]
    found = [convolve_strip(x, strip, kernel, F, way) for strip in strips]
    y = found[0] if len(found) == 1 else opset.concat(found, 1).output(0)
    if (step * h, step * w) == (H, W):
        return y
    return opset.slice(y, *map(integers, ([0, 0], [H, W], [1, 1], [1, 2]))).output(0)


def convolve_strip(
    x: ov.Output, windows: np.ndarray, kernel: ov.Output, F: int, way: Filtering
) -> ov.Output:
    """All positions x (N, C) and those of each tile (B, h, w, r, r) -> (B, mh, mw, F)."""
    (m, n), C = way.outputs.shape, x.get_shape()[1]
    B, h, w, r, _ = windows.shape
    order = np.ascontiguousarray(windows.transpose(3, 4, 0, 1, 2)).reshape(-1)
    y = opset.gather(x, opset.constant(order), integers([0])).output(0)
    y = linear(np.kron(way.inputs, way.inputs), shaped(y, r * r, B * h * w * C))
    y = opset.matmul(shaped(y, n * n, B * h * w, C), kernel, False, True).output(0)
    y = linear(np.kron(way.outputs, way.outputs), shaped(y, n * n, B * h * w * F))
    y = turn(shaped(y, m, m, B, h, w, F), (2, 3, 0, 4, 1, 5))  # (B, h, m, w, m, F)
    return shaped(y, B, m * h, m * w, F)


def linear(matrix: np.ndarray, x: ov.Output) -> ov.Output:
    """The matrix's product with x (n, N)."""
    return opset.matmul(opset.constant(matrix), x, False, False).output(0)


_transformed: WeakValueDictionary[tuple[str, int], np.ndarray] = WeakValueDictionary()


def array_of(given: Kernel) -> np.ndarray:
    """The array of the input, transformed (n n, F, C) or as it is stored (F C, 9)."""
    return transformed(given) if given.is_ready else shareable(given.kernel.reshape(-1, 9))


def transformed(given: Kernel) -> np.ndarray:
    """The kernel as (n n, F, C): the same array for as long as it is in use."""
    kernel, name, way, _ = given
    n, kernels = len(way.kernels), way.kernels
    found = _transformed.get((name, n))
    if found is None:
        F, C = kernel.shape[:2]
        flat = kernel.reshape(F * C, 9)
        matrix = np.kron(kernels, kernels)
        found = np.empty((n * n, F * C), "float32")
        for start in range(0, F * C, BLOCK):
            part = flat[start : start + BLOCK].astype("float32", copy=False)
            np.matmul(matrix, part.T, out=found[:, start : start + BLOCK])
        found = _transformed[name, n] = found.reshape(n * n, F, C)
    return found


def channels_last(x: ov.Output) -> ov.Output:
    """x (B, C, H, W) -> (B, H, W, C)"""
    source = x.get_node()
    return source.input_value(0) if order_of(source) == FIRST else turn(x, LAST)
