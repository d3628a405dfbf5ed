"""Kernels for TensorFlow: XLA's."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import tensorflow as tf

from sfumato.kernels import common, xla

Tensor = Any


@lru_cache
def on_cpu() -> bool:
    """Whether TensorFlow has nothing else."""
    return {device.device_type for device in tf.config.list_physical_devices()} == {"CPU"}


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    return xla.attention(q, k, v, causal, on_cpu())


def conv3x3(*args: Any) -> Tensor:
    return xla.conv3x3(*args, on_cpu=on_cpu())


def conv3x3_enlarged(*args: Any) -> Tensor:
    return xla.conv3x3_enlarged(*args, on_cpu=on_cpu())


# How a weight is stored: graphs hold on to TensorFlow's variable, so it stays where it is. What it
# held is a tensor, which keeps the memory, since an assignment puts other memory in its place.


def store(variable: Any, value: Any) -> Any:
    previous = None if variable._value is None else variable._value.read_value()
    common.store(variable, value)
    return previous


def restore(variable: Any, previous: Any) -> None:
    if previous is None:
        variable._value = None
    else:
        variable._value.assign(previous)


witness = common.row
