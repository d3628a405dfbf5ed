"""Convolutions and matmuls of an OpenVINO model in int8, by how large their inputs were seen to be.

Symmetric and static (Nagel et al. 2021, arXiv 2106.08295, section 2): weights have a scale for each
output, activations one for all. What is written into the model is quantisation and its inverse in
float32; OpenVINO turns that into arithmetic of int8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset16 as opset

from sfumato.runtime.openvino.graph import kernel_of, name_of

LEVELS = 127  # on each side of zero


def layers(model: ov.Model) -> list[ov.Node]:
    """All layers with constant kernels but the ends and those that the time alone enters."""
    found = [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() in ("Convolution", "MatMul") and kernel_of(node) is not None
    ]
    ends = [node for node in found if node.get_type_name() == "Convolution"]
    ends = {node.get_friendly_name() for node in (*ends[:1], *ends[-1:])}
    return [n for n in found if n.get_friendly_name() not in ends and positions(n) > 1]


def names(model: ov.Model) -> list[str]:
    """The names of the constants that hold the kernels of ``layers``."""
    return [name_of(node.input_value(1)) for node in layers(model)]


def positions(node: ov.Node) -> int:
    """The positions of a layer's input in a picture: a map's pixels or a sequence's tokens."""
    _, *shape = node.input_value(0).get_shape()
    channels = 0 if node.get_type_name() == "Convolution" else -1
    return math.prod(shape) // shape[channels]


def observe(model: ov.Model) -> None:
    """Add results to the model: the largest magnitude of each layer's input."""
    for node in layers(model):
        source = node.input_value(0)
        axes = opset.constant(list(range(len(source.get_shape()))), ov.Type.i32)
        model.add_results([opset.result(opset.reduce_max(opset.absolute(source), axes))])


def quantize(model: ov.Model, ranges: Mapping[str, float]) -> None:
    """Put every layer's input and weights into int8; ``ranges``: what ``observe`` found, named."""
    for node in layers(model):
        limit = ranges.get(name_of(node.input_value(1)), math.nan)
        if math.isnan(limit):  # never seen at work
            continue

        kernel: Any = kernel_of(node)
        node.input(0).replace_source_output(activation(node.input_value(0), limit))
        kind = node.get_output_element_type(0)
        node.input(1).replace_source_output(quantized(np.asarray(kernel, "float32"), kind))


def activation(source: ov.Output, limit: float) -> ov.Output:
    """A layer's input, rounded to int8."""
    limit = max(limit, 1e-5)
    ends = [opset.constant(np.float32(x)) for x in (-limit * (LEVELS + 1) / LEVELS, limit)]
    return opset.fake_quantize(source, *ends, *ends, 2 * LEVELS + 2).output(0)


def quantized(kernel: np.ndarray, kind: ov.Type) -> ov.Output:
    """The kernel, outputs first, as int8 with a scale for each output, in a model of ``kind``."""
    scale = np.abs(kernel).max(axis=tuple(range(1, kernel.ndim)), keepdims=True) / LEVELS
    scale = np.maximum(scale, np.float32(1e-30))
    rounded = opset.constant(np.round(kernel / scale).astype("int8"))
    factor = opset.convert(opset.constant(scale), kind)
    return opset.multiply(opset.convert(rounded, kind), factor).output(0)
