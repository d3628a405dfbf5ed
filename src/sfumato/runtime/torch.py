"""Programs for PyTorch: eager, or traced to one graph, which inductor compiles on an accelerator.

``torch.compile`` cannot follow Keras' layers (the ``__call__`` of all of them is the same code with
other constants, so it gives up after a few), but the graph of the operations they perform is plain.
On a CPU that graph runs as it is: inductor took 80 s to compile a network of a few layers. It is
also traced late there, because tracing takes as long as fifty calls without, and most processes
make one picture. The operations are the same.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as tree

from sfumato.runtime import recent, static_key

EAGER = 50  # calls on a CPU for which tracing would not pay
KEPT = 8  # graphs of a program that stay in memory
LOCK = threading.RLock()  # of the process: while a graph is traced, PyTorch's modules are patched


class Program:
    def __init__(self, function: Callable[..., Any], jit_compile: bool) -> None:
        self.function = function
        self.jit_compile = jit_compile
        self.graphs: dict[Any, Callable[..., Any]] = {}
        self.calls: Counter[Any] = Counter()

    def __call__(self, *args: Any, **static: Any) -> Any:
        with LOCK, torch.inference_mode(False), torch.no_grad():
            return self.run(*args, **static)

    def run(self, *args: Any, **static: Any) -> Any:
        leaves, structure = tree.tree_flatten(args)
        present = [leaf is not None for leaf in leaves]
        tensors = [keras.ops.convert_to_tensor(leaf) for leaf in leaves if leaf is not None]

        def function(*tensors: torch.Tensor) -> Any:
            given = iter(tensors)
            leaves = [next(given) if there else None for there in present]
            return self.function(*tree.tree_unflatten(leaves, structure), **static)

        if not self.jit_compile:
            return function(*tensors)
        shapes = [(t.shape, t.dtype) for t in tensors]
        key = (static_key(static), str(structure), *present, *shapes)
        accelerated = any(t.device.type != "cpu" for t in tensors)
        self.calls[key] += 1
        if self.calls[key] <= EAGER and not accelerated:
            return function(*tensors)

        def traced() -> Callable[..., Any]:
            graph = make_fx(function)(*tensors)
            return torch.compile(graph, dynamic=False) if accelerated else graph

        return recent(self.graphs, key, traced, KEPT)(*tensors)


def compile(
    function: Callable[..., Any], networks: Sequence[keras.Model], jit_compile: bool
) -> Program:
    return Program(function, jit_compile)
