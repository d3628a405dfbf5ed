"""Programs for OpenVINO: each one traced to a model of static shapes and compiled for the CPU.

Keras' own ``predict`` compiles for any batch size, which is much slower. Everything is computed in
float32, whatever dtype the weights are stored in: that is what a CPU does fastest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import keras
import ml_dtypes
import numpy as np
import openvino as ov
import openvino.opset16 as opset
import psutil
from keras import ops, tree
from keras.src.backend.openvino.core import OPENVINO_DTYPES, OpenVINOKerasTensor

from sfumato._openvino import data_of
from sfumato.runtime import cache, int8
from sfumato.runtime.passes import keep_channels_first, stored_kernel, take_stored_kernels
from sfumato.runtime.winograd import Kernel, array_of, use_winograd

CONFIG = {
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": 1,
    "INFERENCE_PRECISION_HINT": "f32",
}
KEPT = 2  # executables of a program that stay in memory: each has its own copy of the weights
SHARE = 1 / 3  # of the memory that is left, which transformed kernels may take for good
LARGE = 128 * 2**20  # bytes of constants above which an executable is not kept on disk


class Executable(NamedTuple):
    run: Any
    structure: Any  # what the function returned, with dtypes for the arrays
    weights: list[Any]  # the values of the variables that were traced
    observed: list[int]  # the variables whose layers' ranges are the last results
    kernels: list[Any]  # inputs behind the function's: of winograd


class Program:
    def __init__(self, function: Callable[..., Any], networks: Sequence[keras.Model]) -> None:
        self.function = function
        self.variables = [v for network in networks for v in network.variables]
        self.executables: dict[Any, Executable] = {}
        self.traces = 0  # how often Python walked through the function: once per executable
        # How large the input of each variable's layer becomes (nan: unknown), or None: float32
        self.ranges: np.ndarray | None = None
        self.seen: np.ndarray | None = None  # the same so far, while it is observed

    def __call__(self, *args: Any) -> Any:
        """Arrays of NumPy or of the backend in, arrays of NumPy out."""
        leaves = [None if x is None else to_numpy(x) for x in tree.flatten(args)]
        run, structure, _, observed, kernels = self.executable(args, leaves)
        present = [to_openvino(x) for x in leaves if x is not None]
        given = dict(enumerate([*present, *kernels]))
        results = iter(run(given, share_inputs=True).values())
        outputs = [
            None if x is None else from_openvino(next(results), x) for x in tree.flatten(structure)
        ]
        if self.seen is not None:
            self.seen[observed] = np.fmax(self.seen[observed], np.array(list(results)))
        return tree.pack_sequence_as(structure, outputs)

    def executable(self, args: Any, leaves: list[np.ndarray | None]) -> Executable:
        """The one for these shapes, compiled anew when the weights are no longer those traced."""
        key = tuple(None if x is None else (x.shape, x.dtype.name) for x in leaves)
        weights = [variable.value for variable in self.variables]
        found = self.executables.pop(key, None)
        if found and any(a is not b for a, b in zip(found.weights, weights, strict=True)):
            self.executables.clear()
            found = None
        if found is None:
            while len(self.executables) >= KEPT:
                del self.executables[next(iter(self.executables))]
            model, structure, observed, kernels = self.trace(args, leaves)
            with ThreadPoolExecutor(os.cpu_count()) as pool:  # beside the compiler
                preparing = pool.map(array_of, kernels)
                run = load(model, keep=self.seen is None)
                given = [to_openvino(x) for x in preparing]
                found = Executable(run, structure, weights, observed, given)
        self.executables[key] = found  # the latest used is last
        return found

    def trace(
        self, args: Any, leaves: list[np.ndarray | None]
    ) -> tuple[ov.Model, Any, list[int], list[Kernel]]:
        """The function as a model whose inputs are the leaves that are there and the kernels.

        Its results are the function's and what is observed of the layers of these variables.
        """
        self.traces += 1
        inputs = [
            None if x is None else opset.parameter(x.shape, OPENVINO_DTYPES[x.dtype.name])
            for x in leaves
        ]
        tensors = [None if x is None else OpenVINOKerasTensor(x.output(0)) for x in inputs]
        structure = self.function(*tree.pack_sequence_as(args, tensors))
        outputs = [ops.convert_to_tensor(x) for x in tree.flatten(structure) if x is not None]
        make_model: Any = ov.Model  # its stubs and its code disagree
        model = make_model([x.output for x in outputs], [x for x in inputs if x is not None])
        take_stored_kernels(model)
        if self.ranges is not None:
            limits = self.ranges.tolist()
            int8.quantize(model, {name: limits[i] for name, i in self.places().items()})
        observed = [] if self.seen is None else self.observe_layers(model)
        kernels = use_winograd(model, SHARE * memory_left())
        keep_channels_first(model)
        dtypes = tree.map_structure(lambda x: None if x is None else x.dtype, structure)
        return model, dtypes, observed, kernels

    def places(self) -> dict[str, int]:
        """The place in ``variables`` of every constant that a model may contain, by its name."""
        stored = [stored_kernel(variable.value.output)[0] for variable in self.variables]
        return {int8.name_of(x): i for i, x in enumerate(stored) if x is not None}

    def observe_layers(self, model: ov.Model) -> list[int]:
        """Add results that tell the ranges; the variables that they belong to."""
        places = self.places()
        observed = [places[name] for name in int8.names(model)]
        int8.observe(model)
        return observed

    def use(self, ranges: np.ndarray | None = None, observe: bool = False) -> None:
        """Compute in int8 from now on, or in float32; or observe what the ranges would be."""
        self.executables.clear()
        self.ranges = ranges
        self.seen = np.full(len(self.variables), np.nan, "float32") if observe else None


def quantize(programs: Sequence[Program], run: Callable[[], Any], settings: str) -> None:
    """Have programs compute in int8 from now on; what ``run`` shows of them is kept on disk.

    Args:
        programs: which.
        run: calls them as they will be used, once, all in float32.
        settings: what ``run`` depends on beside the weights of each.
    """
    folder = cache.directory()
    paths = [folder and folder / "int8" / digest_of(p.variables, settings) for p in programs]
    stored = [cache.read(path) if path else None for path in paths]
    ranges = [None if x is None else np.frombuffer(x, "float32") for x in stored]
    for program, known in zip(programs, ranges, strict=True):
        program.use(observe=known is None)
    try:
        if any(known is None for known in ranges):
            run()
        seen = [program.seen for program in programs]
    finally:
        for program in programs:
            program.use()
    for program, path, known, found in zip(programs, paths, ranges, seen, strict=True):
        if path and found is not None:
            cache.write(path, found.tobytes())
        program.use(found if known is None else known)


def compile(
    function: Callable[..., Any], networks: Sequence[keras.Model], jit_compile: bool
) -> Program:
    """``jit_compile`` says nothing here: there is no other way to run a model."""
    return Program(function, networks)


def memory_left(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that the machine has left, but not more than a container may have at all."""
    found = [psutil.virtual_memory().available]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of versions 2 and 1
        with suppress(OSError, ValueError):  # not in a container of Linux, or "max"
            found.append(int((groups / name).read_text()))
    return min(found)


def to_numpy(x: Any) -> np.ndarray:
    """Contiguous, so that OpenVINO can read it where it lies."""
    return np.asarray(ops.convert_to_numpy(x), order="C")


def to_openvino(x: np.ndarray) -> Any:
    """OpenVINO knows bfloat16, but not NumPy's."""
    if x.dtype != ml_dtypes.bfloat16:
        return x
    return ov.Tensor(x.view(np.uint16), x.shape, ov.Type.bf16)


def from_openvino(x: np.ndarray, dtype: str) -> np.ndarray:
    """The result; OpenVINO hands bfloat16 out as if it were float16."""
    return x.view(ml_dtypes.bfloat16) if dtype == "bfloat16" else x


# Executables on disk


def load(model: ov.Model, keep: bool = True) -> Any:
    """The compiled model, from the disk if it has been there before; kept there, if ``keep``.

    OpenVINO writes the weights beside the code. For a large network that is gigabytes, and reading
    them takes longer than compiling; for a small one it saves most of the time.
    """
    folder = cache.directory()
    if not keep or folder is None or sum(x.get_byte_size() for x in constants(model)) > LARGE:
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
            digest.update(np.ascontiguousarray(node.data).view(np.uint8).reshape(-1).data)
        digest.update(repr((node.get_type_name(), attributes(node), sources, kinds)).encode())
    return digest.hexdigest()


def digest_of(variables: Sequence[keras.Variable], settings: str) -> str:
    """A name for these weights and settings."""
    digest = hashlib.sha256(repr((ov.get_version(), settings)).encode())
    for variable in variables:
        value: Any = variable.value
        stored, _ = stored_kernel(value.output)
        data = to_numpy(value) if stored is None else data_of(int8.constant_of(stored))
        digest.update(repr((variable.path, data.shape, data.dtype)).encode())
        digest.update(np.ascontiguousarray(data).view(np.uint8).reshape(-1).data)
    return digest.hexdigest()


def attributes(node: ov.Node) -> list[tuple[str, str]]:
    return sorted((name, repr(value)) for name, value in node.get_attributes().items())
