"""From the mapped file into the variables of a network: every tensor once, every variable once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import keras
import ml_dtypes
import numpy as np

from sfumato import kernels
from sfumato.checkpoints.copying import Arena, ahead
from sfumato.checkpoints.fitting import check
from sfumato.checkpoints.tensors import CheckpointError, Tensors
from sfumato.checkpoints.weights import assemble, is_kernel, source_shapes, sources
from sfumato.networks.network import Block, keys

Variables = Mapping[str, keras.Variable]


def fill(network: Block | Sequence[Block], tensors: Tensors) -> None:
    """Give every variable of a network, or of several that share a file, its value.

    The weights are cast to the variable's dtype and put into its order on the way from the mapped
    file to the device, a few at a time, so that there is never a second copy of them all. A backend
    that takes them as they are in the file copies nothing but tensors that are put together.

    Raises:
        CheckpointError: tensors are missing, unexpected or misshapen; all are named, and nothing
            has been changed.
    """
    networks = [network] if isinstance(network, Block) else list(network)
    variables = {key: variable for part in networks for key, variable in keys(part).items()}
    check(_shapes(variables), tensors, " and ".join(type(part).__name__ for part in networks))
    values = _views if kernels.TAKES_VIEWS else _copies
    for variable, value in values(variables, tensors):
        kernels.store(variable, value)


def holds(network: Block, tensors: Tensors) -> bool:
    """Whether the values of a network are still those that ``fill`` gave it from these tensors."""
    variables = keys(network)
    try:
        check(_shapes(variables), tensors, "")
    except CheckpointError:
        return False
    return all(
        np.array_equal(
            kernels.read(variable),
            assemble(key, tensors).astype(_numpy_dtype(variable)),
            equal_nan=True,
        )
        for key, variable in variables.items()
    )


def _shapes(variables: Variables) -> dict[str, list[tuple[int, ...]]]:
    """The shapes that a file's tensors may have, by their names."""
    return {
        name: source_shapes(key, tuple(variable.shape))
        for key, variable in variables.items()
        for name in sources(key)
    }


def _views(variables: Variables, tensors: Tensors) -> Iterator[tuple[keras.Variable, np.ndarray]]:
    for key, variable in variables.items():
        yield variable, assemble(key, tensors)


def _copies(variables: Variables, tensors: Tensors) -> Iterator[tuple[keras.Variable, np.ndarray]]:
    """The values in order, a few prepared ahead on all processors (copies release the GIL)."""
    arena = Arena()

    def jobs() -> Iterator[tuple[keras.Variable, Callable[[], np.ndarray]]]:
        for key, variable in variables.items():
            shape = tuple(variable.shape)
            kind = is_kernel(key, len(shape))
            room = kernels.empty(shape, _numpy_dtype(variable), kind, arena.empty)
            yield variable, partial(assemble, key, tensors, room)

    yield from ahead(jobs())


def _numpy_dtype(variable: keras.Variable) -> np.dtype:
    name = keras.backend.standardize_dtype(variable.dtype)
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
