"""Kernels for TensorFlow."""

from __future__ import annotations

from typing import Any

from sfumato.kernels import common
from sfumato.kernels.common import TAKES_VIEWS, TRAINS, empty

__all__ = ["TAKES_VIEWS", "TRAINS", "empty", "restore", "store"]


def store(variable: Any, value: Any) -> Any:
    """Graphs hold on to the variable of TensorFlow, so it stays, and what it held is a tensor: it
    keeps the memory, since an assignment puts other memory in its place."""
    previous = None if variable._value is None else variable._value.read_value()
    common.store(variable, value)
    return previous


def restore(variable: Any, previous: Any) -> None:
    if previous is None:
        variable._value = None
    else:
        variable._value.assign(previous)
