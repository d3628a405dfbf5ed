"""The base of every network: layers in attributes, named as in the checkpoint, without values yet.

An attribute's name is the layer's Keras name and its key in the checkpoint. Every layer knows the
width of its input from the start, so a network builds without being called, and it builds without
values: a network that is about to be loaded draws no random numbers.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import wraps
from typing import Any, get_type_hints

import keras
import numpy as np

from sfumato import kernels

LEAVES = {"kernel": "weight", "embeddings": "weight", "gamma": "weight", "beta": "bias"}


class Block(keras.layers.Layer):
    """A layer made of layers: its parts take their names from the attributes that hold them."""

    def build(self, input_shape: Any = None) -> None:
        for name, part in parts(self):
            part.name = name.replace(".", "_")
            part.build(getattr(part, "built_for", None))
        self.built = True


def parts(layer: keras.layers.Layer) -> Iterator[tuple[str, keras.layers.Layer]]:
    """The layers held by the attributes of ``layer``, as ("conv_in", ...), ("resnets.0", ...)."""
    # A layer may be a module of another framework, too, which keeps its children apart.
    for name, value in {**vars(layer), **getattr(layer, "_modules", {})}.items():
        if name.startswith("_"):
            continue
        if isinstance(value, keras.layers.Layer):
            yield name, value
        elif isinstance(value, (list, tuple)):
            for index, part in enumerate(value):
                if isinstance(part, keras.layers.Layer):
                    yield f"{name}.{index}", part


def keys(layer: keras.layers.Layer, prefix: str = "") -> dict[str, keras.Variable]:
    """Every variable of a network by its key in the checkpoint, in the order of the layers."""
    if not isinstance(layer, Block):
        return {prefix + LEAVES.get(str(v.name), str(v.name)): v for v in layer.weights}
    found: dict[str, keras.Variable] = {}
    for name, part in parts(layer):
        found |= keys(part, f"{prefix}{name}.")
    return found


class Network(Block, keras.Model):
    """A ``keras.Model`` that is complete, but without values, as soon as it is constructed.

    ``checkpoints.fill`` gives it the values of a checkpoint, ``initialize`` random ones. Keras'
    ``load_weights``, ``set_weights`` and ``assign`` work as for any model, and ``fit`` begins from
    ``initialize(0)`` where there are none. Otherwise a network without values says so when it is
    used.

    Args:
        config: the frozen dataclass that distinguishes this network from its kin.
        dtype: a dtype or a Keras dtype policy; default: the global policy.
        name: the Keras name.
    """

    def __init__(self, config: Any, dtype: Any = None, name: str | None = None) -> None:
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(dtype or policy)  # of this thread; the parts inherit it
        try:
            super().__init__(name=name or type(self).__name__.lower())
            self.config = config
            self.compose(config)
        finally:
            keras.config.set_dtype_policy(policy)
        with keras.StatelessScope(initialize_variables=False):
            self.build()
        forget_uninitialized(self.variables)
        for variable in self.variables:
            kernels.withhold(variable)

    def compose(self, config: Any) -> None:
        """Make the parts, as attributes."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The configuration as plain values, for Keras' ways to save and copy a model."""
        config = as_lists(asdict(self.config))
        return {"config": config, "dtype": self.dtype_policy.name, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Network:
        """The network of a ``get_config``, without values."""
        kind = get_type_hints(cls)["config"]
        return cls(**{**config, "config": kind(**as_tuples(config["config"]))})

    def get_build_config(self) -> None:
        """Nothing: a network is built when it is constructed."""

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile a network that is being loaded: an optimizer asks variables for their values."""
        self._draw(0, missing=True)
        super().compile_from_config(config)

    @wraps(keras.Model.fit)
    def fit(self, *args: Any, **kwargs: Any) -> Any:
        kernels.require_training()
        self._draw(0, missing=True)
        return super().fit(*args, **kwargs)

    @wraps(keras.Model.train_on_batch)
    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        kernels.require_training()
        self._draw(0, missing=True)
        return super().train_on_batch(*args, **kwargs)

    def initialize(self, seed: int) -> None:
        """Draw the weights for training: normal of variance 1 / fan-in; norms 1, biases 0.

        Every variable has a generator of its own, so the values do not depend on the backend.
        """
        self._draw(seed)

    def _draw(self, seed: int, missing: bool = False) -> None:
        """``initialize`` all variables or those that have no value."""
        for key, variable in keys(self).items():
            if not missing or variable._value is None:
                kernels.store(variable, first_value(key, variable.shape, seed))


def first_value(key: str, shape: Any, seed: int) -> np.ndarray:
    """The value of a variable that ``Network.initialize`` draws."""
    random = np.random.Generator(np.random.Philox([seed, zlib.crc32(key.encode())]))
    if len(shape) == 1:
        return np.full(shape, key.endswith("weight"), "float32")
    scale = 0.02 if "embedding.weight" in key else 1 / math.sqrt(np.prod(shape[:-1]))
    return random.standard_normal(shape, "float32") * np.float32(scale)


def as_lists(value: Any) -> Any:
    """Plain values without tuples, which JSON does not know."""
    if isinstance(value, dict):
        return {name: as_lists(x) for name, x in value.items()}
    return [as_lists(x) for x in value] if isinstance(value, (list, tuple)) else value


def as_tuples(value: Any) -> Any:
    """Plain values with tuples in place of lists, as configurations have them."""
    if isinstance(value, dict):
        return {name: as_tuples(x) for name, x in value.items()}
    return tuple(as_tuples(x) for x in value) if isinstance(value, (list, tuple)) else value


def forget_uninitialized(variables: list[keras.Variable]) -> None:
    """Keep Keras from drawing random values for these when it next leaves a stateless scope."""
    from keras.src.backend.common import global_state

    waiting = global_state.get_global_attribute("uninitialized_variables", [])
    ours = {id(v) for v in variables}
    kept = [v for v in waiting if id(v) not in ours]
    global_state.set_global_attribute("uninitialized_variables", kept)
