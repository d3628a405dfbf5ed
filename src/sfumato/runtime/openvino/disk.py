"""Executables of OpenVINO on disk, and names for them and for weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import keras
import numpy as np
import openvino as ov
from keras import ops

from sfumato.runtime import cache
from sfumato.runtime.openvino.graph import constant_of, data_of
from sfumato.runtime.openvino.passes import stored_kernel

CONFIG = {
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": 1,
    "INFERENCE_PRECISION_HINT": "f32",
}
LARGE = 128 * 2**20  # bytes of constants above which an executable is not kept on disk


def load(model: ov.Model, to_disk: bool = True) -> Any:
    """The compiled model, from the disk if it has been there before; written there, if ``to_disk``.

    OpenVINO writes the weights with the code. For a large network that is gigabytes, and reading
    them takes longer than compiling; for a small one it saves most of the time.
    """
    folder = cache.directory()
    if not to_disk or folder is None or sum(x.get_byte_size() for x in constants(model)) > LARGE:
        return core().compile_model(model, "CPU", CONFIG)
    path = folder / "openvino" / fingerprint(model)
    blob = cache.read(path)
    if blob is not None:
        with suppress(RuntimeError):  # intact, but not for this machine
            return core().import_model(blob, "CPU", CONFIG)
    compiled = core().compile_model(model, "CPU", CONFIG)
    cache.write(path, compiled.export_model().getvalue())
    return compiled


@lru_cache
def core() -> ov.Core:
    return ov.Core()


def constants(model: ov.Model) -> Iterator[Any]:
    return (node for node in model.get_ordered_ops() if node.get_type_name() == "Constant")


def fingerprint(model: ov.Model) -> str:
    """A name for what the model computes, by which OpenVINO and on which processor."""
    digest = hashlib.sha256()
    number: dict[Any, int] = {}
    abilities = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    processor = core().get_property("CPU", "FULL_DEVICE_NAME")
    digest.update(repr((ov.get_version(), processor, sorted(abilities), CONFIG)).encode())

    for node in model.get_ordered_ops():
        number[node.get_friendly_name()] = len(number)
        sources = [
            (number[source.get_node().get_friendly_name()], source.get_index())
            for source in node.input_values()
        ]
        kinds = [(str(x.get_element_type()), str(x.get_partial_shape())) for x in node.outputs()]
        if node.get_type_name() == "Constant":
            digest.update(bytes_of(node.data))
        digest.update(repr((node.get_type_name(), attributes(node), sources, kinds)).encode())
    return digest.hexdigest()


def weights_digest(variables: Sequence[keras.Variable], settings: str) -> str:
    """A name for these weights and settings."""
    digest = hashlib.sha256(repr((ov.get_version(), settings)).encode())
    for variable in variables:
        value: Any = variable.value
        stored, _ = stored_kernel(value.output)
        data = ops.convert_to_numpy(value) if stored is None else data_of(constant_of(stored))
        digest.update(repr((variable.path, data.shape, data.dtype)).encode())
        digest.update(bytes_of(data))
    return digest.hexdigest()


def bytes_of(data: np.ndarray) -> memoryview:
    return np.ascontiguousarray(data).view(np.uint8).reshape(-1).data


def attributes(node: ov.Node) -> list[tuple[str, str]]:
    return sorted((name, repr(value)) for name, value in node.get_attributes().items())
