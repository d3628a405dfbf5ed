"""Small networks and counters for the tests of OpenVINO.

Run as a program it runs a small network and writes what came out and, on OpenVINO, how often that
compiled: ``python openvino_networks.py OUT``.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from sfumato import runtime
from sfumato.kernels import store
from sfumato.networks.configs import UNetConfig
from sfumato.networks.unet import UNet

CONFIG = UNetConfig(
    channels=(32, 64),
    down=((1,), (0,)),
    mid=(1, 0),
    up=((0, 0), (1, 1)),
    heads=(4, 4),
    context_width=24,
    groups=8,
)


def small_unet(dtype: str = "float32") -> UNet:
    unet = UNet(CONFIG, dtype=dtype)
    unet.initialize(1)
    return unet


def inputs() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    shapes = (2, 8, 6, 4), (2, 32), (2, 7, 24)
    return [random.standard_normal(shape, "float32") for shape in shapes]


def unet_result(unet: UNet | None = None) -> np.ndarray:
    unet = unet or small_unet()
    program = runtime.compile(lambda *x: ops.cast(unet(list(x)), "float32"), [unet], True)
    return ops.convert_to_numpy(program(*inputs()))


def count_compilations() -> Counter[str]:
    """From now on: how often OpenVINO compiles a model, and how often it imports one."""
    import openvino

    counts: Counter[str] = Counter()

    def counted(name: str) -> Callable[..., Any]:
        method = getattr(openvino.Core, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return method(*args, **kwargs)

        return call

    for name in ("compile_model", "import_model"):
        setattr(openvino.Core, name, counted(name))
    return counts


def dense() -> Any:
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    layer.kernel.assign(np.arange(6).reshape(3, 2))
    return layer


def result_of(layer: Any) -> np.ndarray:
    return runtime.compile(layer, [layer], True)(np.ones((1, 3), "float32"))


def built(layer: Any, *shape: int | None) -> Any:
    """The layer with random weights."""
    layer.build(shape)
    random = np.random.default_rng(7)
    for variable in layer.variables:
        store(variable, random.standard_normal(variable.shape).astype(variable.dtype))
    return layer


def results(function: Any, layers: list[Any], x: np.ndarray) -> tuple[np.ndarray, Any]:
    """Of a program, and the executable that gave it."""
    program = runtime.compile(function, layers, True)
    found = ops.convert_to_numpy(program(x))
    return found, next(iter(program.executables.values()))


def layer_types(run: Any) -> Counter[str]:
    """How many of OpenVINO's own layers of each kind compute in int8, and how many in float32."""
    found: Counter[str] = Counter()
    for node in run.get_runtime_model().get_ordered_ops():
        information = node.get_rt_info()
        kind = str(information["layerType"].astype(str))
        if kind in ("Convolution", "FullyConnected", "Interpolate", "Transpose", "Reorder"):
            found[f"{kind} {str(information['primitiveType'].astype(str))[-3:].lower()}"] += 1
    return found


if __name__ == "__main__":
    found = count_compilations() if keras.backend.backend() == "openvino" else Counter()
    result = unet_result()
    np.savez(sys.argv[1], result=result, names=list(found), counts=list(found.values()))
