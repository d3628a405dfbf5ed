"""The identity of a program, found without tracing it: by its code, its networks and where it runs.

Two programs with one identity compute the same from the same arguments. Code that was exchanged at
run time has none (a function of one's own, a network with a layer of one's own): such a program is
not kept on disk. A function that reaches networks in any other way than as arguments of a
``functools.partial`` has none either.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import sys
from collections.abc import Sequence
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import keras
import numpy as np

PLAIN = (bool, int, float, str, type(None))
PACKAGES = ("sfumato.", "keras.")  # the packages whose code is known by its digest or its version
SOURCES = Path(__file__).parents[2]  # the package
WRAPPED = ("build", "quantize")  # methods that Keras wraps for every layer


class UnknownError(TypeError):
    """Something has no identity."""


def describe(value: Any) -> Any:
    """``value`` as tuples of plain values, of which the ``repr`` is the same in every process.

    Raises:
        UnknownError: part of it is none of the things that programs are made of.
    """
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, keras.layers.Layer):
        return tuple(_layer(part) for part in value._flatten_layers())
    if isinstance(value, (tuple, list)):
        return tuple(describe(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _name(type(value)), tuple(describe(x) for x in vars(value).values())
    if isinstance(value, partial):
        keywords = tuple((name, describe(x)) for name, x in sorted(value.keywords.items()))
        return describe(value.func), describe(value.args), keywords
    if isinstance(value, (FunctionType, MethodType)):
        return _name(value)
    raise UnknownError(f"a {type(value).__name__}")


def _layer(layer: Any) -> tuple[Any, ...]:
    """A layer without its parts: its class, its precision and its settings."""
    settings = []
    for name, value in vars(layer).items():
        if name.startswith("_") or name == "name" or name in WRAPPED:  # names may be numbers
            continue
        if isinstance(value, (list, tuple)):
            value = tuple(x for x in value if not isinstance(x, keras.layers.Layer))
        described = (*PLAIN, tuple, np.ndarray, FunctionType, MethodType)
        if isinstance(value, described) or dataclasses.is_dataclass(value):
            settings.append((name, describe(value)))
    return _class(type(layer)), layer.dtype_policy.name, *sorted(settings)


@lru_cache
def _class(kind: Any) -> str:
    _name(kind.call)
    return _name(kind)


def _name(code: Any) -> str:
    """Of a function or a class that is where its name says, in a package that is known."""
    found: Any = sys.modules.get(code.__module__)
    for part in code.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not code or not code.__module__.startswith(PACKAGES):
        raise UnknownError(f"{code.__module__}.{code.__qualname__}")
    return f"{code.__module__}.{code.__qualname__}"


@lru_cache
def surroundings(packages: Sequence[str]) -> Any:
    """The rest that decides on the code of programs: versions, our sources, the processor."""
    versions = [(name, version(name)) for name in ("keras", "numpy", *packages)]
    sources = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*.py")):
        sources.update(path.read_bytes())
    return sys.version, versions, sources.hexdigest(), platform.machine(), processor()


def processor() -> Any:
    """The processor, what it is able to do, and how many of its cores there are."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor(), os.cpu_count()
    names = ("model name", "flags", "Features", "CPU part")
    return sorted({line for line in lines if line.startswith(names)}), os.cpu_count()
