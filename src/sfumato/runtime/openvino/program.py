"""Programs for OpenVINO: each one traced to a model of static shapes and compiled for the CPU.

Keras' own ``predict`` compiles for any batch size, which is much slower. Everything is computed in
float32, whatever dtype the weights are stored in: that is what a CPU does fastest.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import keras
import ml_dtypes
import numpy as np
import openvino as ov
import openvino.opset16 as opset
from keras import ops, tree
from keras.src.backend.openvino.core import OPENVINO_DTYPES, OpenVINOKerasTensor

from sfumato.runtime import cache, static_key
from sfumato.runtime.openvino import int8
from sfumato.runtime.openvino.disk import load, weights_digest
from sfumato.runtime.openvino.graph import name_of
from sfumato.runtime.openvino.memory import memory_left
from sfumato.runtime.openvino.passes import (
    keep_channels_first,
    stored_kernel,
    take_stored_kernels,
)
from sfumato.runtime.openvino.winograd import Kernel, array_of, use_winograd

KEPT = 2  # executables that stay in memory: each has its own copy of the linear layers' weights
SHARE = 1 / 3  # of the memory that is left, which transformed kernels may take for good


class Key(NamedTuple):
    """The purpose of an executable."""

    static: str  # the values of the keywords, "" for none
    shapes: tuple[Any, ...]  # and dtypes of the inputs, None for one that is absent


class Executable(NamedTuple):
    run: Any
    structure: Any  # what the function returned, with dtypes for the arrays
    weights: list[Any]  # the values of the variables that were traced
    observed: list[int]  # the variables whose layers' ranges are the last results
    kernels: list[Any]  # inputs behind the function's: of winograd


class Program:
    """A function as executables for the shapes and static values that it is called with.

    Of each combination of static values the last two executables stay in memory. Combinations that
    stay are the one without any values and the last two others.
    """

    def __init__(self, function: Callable[..., Any], networks: Sequence[keras.Model]) -> None:
        self.function = function
        self.variables = [v for network in networks for v in network.variables]
        self.executables: dict[Key, Executable] = {}  # the latest used is last
        self.lock = threading.Lock()  # a compiled model serves one call at a time
        self.traces = 0  # how often Python walked through the function: once per executable
        # How large the input of each variable's layer becomes (nan: unknown), or None: float32
        self._ranges: np.ndarray | None = None
        self._seen: np.ndarray | None = None  # the same so far, while it is observed

    def __call__(self, *args: Any, **static: Any) -> Any:
        """Arrays of NumPy or of the backend in, arrays of NumPy out."""
        with self.lock:
            return self.call(args, static)

    def call(self, args: Any, static: dict[str, Any]) -> Any:
        leaves = [None if x is None else to_numpy(x) for x in tree.flatten(args)]
        run, structure, _, observed, kernels = self.executable(args, leaves, static)

        present = [to_openvino(x) for x in leaves if x is not None]
        given = dict(enumerate([*present, *kernels]))
        results = iter(run(given, share_inputs=True).values())
        outputs = [
            None if x is None else from_openvino(next(results), x) for x in tree.flatten(structure)
        ]

        if self._seen is not None:
            self._seen[observed] = np.fmax(self._seen[observed], np.array(list(results)))
        return tree.pack_sequence_as(structure, outputs)

    def executable(
        self, args: Any, leaves: list[np.ndarray | None], static: dict[str, Any]
    ) -> Executable:
        """The one for these shapes and values, compiled again when the weights are others."""
        shapes = tuple(None if x is None else (x.shape, x.dtype.name) for x in leaves)
        key = Key(static_key(static), shapes)
        weights = [variable.value for variable in self.variables]
        found = self.executables.pop(key, None)
        if found and any(a is not b for a, b in zip(found.weights, weights, strict=True)):
            self.executables.clear()
            found = None

        if found is None:
            for unused in surplus([*self.executables], key.static):
                del self.executables[unused]
            model, structure, observed, kernels = self.trace(args, leaves, static)
            with ThreadPoolExecutor(os.cpu_count()) as pool:  # while the compiler runs
                preparing = pool.map(array_of, kernels)
                run = load(model, to_disk=self._seen is None)
                given = [to_openvino(x) for x in preparing]
                found = Executable(run, structure, weights, observed, given)
        self.executables[key] = found
        return found

    def trace(
        self, args: Any, leaves: list[np.ndarray | None], static: dict[str, Any] | None = None
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
        structure = self.function(*tree.pack_sequence_as(args, tensors), **(static or {}))
        outputs = [ops.convert_to_tensor(x) for x in tree.flatten(structure) if x is not None]
        make_model: Any = ov.Model  # its stubs and its code disagree
        model = make_model([x.output for x in outputs], [x for x in inputs if x is not None])

        take_stored_kernels(model)
        if self._ranges is not None:
            limits = self._ranges.tolist()
            int8.quantize(model, {name: limits[i] for name, i in self.places().items()})
        observed = [] if self._seen is None else self.observe_layers(model)
        kernels = use_winograd(model, SHARE * memory_left())
        keep_channels_first(model)

        dtypes = tree.map_structure(lambda x: None if x is None else x.dtype, structure)
        return model, dtypes, observed, kernels

    def places(self) -> dict[str, int]:
        """The place in ``variables`` of every constant that a model may contain, by its name."""
        stored = [stored_kernel(variable.value.output)[0] for variable in self.variables]
        return {name_of(x): i for i, x in enumerate(stored) if x is not None}

    def observe_layers(self, model: ov.Model) -> list[int]:
        """Add results for the ranges; the variables that they belong to."""
        places = self.places()
        observed = [places[name] for name in int8.names(model)]
        int8.observe(model)
        return observed

    # int8, for ``quantize``

    @property
    def is_int8(self) -> bool:
        return self._ranges is not None

    def observe(self) -> None:
        """Compute in float32 from now on, and note how large the inputs of layers become."""
        self.use(None)
        self._seen = np.full(len(self.variables), np.nan, "float32")

    def observed(self) -> np.ndarray | None:
        """The ranges noted since ``observe``."""
        return self._seen

    def use(self, ranges: np.ndarray | None) -> None:
        """Compute in int8 from now on, or in float32."""
        self.executables.clear()
        self._ranges, self._seen = ranges, None


def surplus(keys: list[Key], static: str) -> list[Key]:
    """The keys of executables, the oldest first, that must go before one with ``static`` comes."""
    combinations = [*dict.fromkeys(key.static for key in reversed(keys))]  # the latest used first
    others = [name for name in combinations if name and name != static]
    forgotten = others[KEPT - 1 if static else KEPT :]
    alike = [key for key in keys if key.static == static]
    return [key for key in keys if key.static in forgotten] + alike[: max(0, len(alike) + 1 - KEPT)]


def quantize(programs: Sequence[Program], run: Callable[[], Any], settings: str) -> None:
    """See ``runtime.quantize``."""
    folder = cache.directory()
    paths = [folder and folder / "int8" / weights_digest(p.variables, settings) for p in programs]
    stored = [cache.read(path) if path else None for path in paths]
    ranges = [None if x is None else np.frombuffer(x, "float32") for x in stored]

    for program, read in zip(programs, ranges, strict=True):
        program.use(None) if read is not None else program.observe()
    try:
        if any(read is None for read in ranges):
            run()
        noted = [program.observed() for program in programs]
    finally:
        for program in programs:
            program.use(None)

    for program, path, read, found in zip(programs, paths, ranges, noted, strict=True):
        if path and found is not None:
            cache.write(path, found.tobytes())
        program.use(found if read is None else read)


def compile(
    function: Callable[..., Any], networks: Sequence[keras.Model], jit_compile: bool
) -> Program:
    """``jit_compile`` says nothing here: there is no other way to run a model."""
    return Program(function, networks)


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
