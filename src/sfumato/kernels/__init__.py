"""The operations that a backend computes better than Keras does, and how it stores a weight.

Each is one function here and one in the file of the backend in use or, where that has none, in
``common``. The networks call these and name no backend. Maps and sequences are channels last, and
weights have the shapes of Keras' layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras.src.backend.common.stateless_scope import in_stateless_scope
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from sfumato.kernels import common
from sfumato.runtime import backend_module

Tensor = Any

_backend: Any = SimpleNamespace(**{**vars(common), **vars(backend_module(__name__))})


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    """Attend exactly, by a softmax: q (B, T, N, D), k and v (B, S, N, D) -> (B, T, N, D)."""
    return _backend.attention(q, k, v, causal)


_repeats: ContextVar[str | None] = ContextVar("repeats", default=None)


@contextmanager
def repeating(axes: str | None) -> Iterator[None]:
    """Let maps repeat along "x", "y" or "both": convolutions see the other edge behind an edge.

    It holds for a function while that runs, or is traced. So it is a way of a program, and no
    network knows of it.
    """
    before = _repeats.set(axes)
    try:
        yield
    finally:
        _repeats.reset(before)


def conv3x3(
    x: Tensor, kernel: Tensor, bias: Tensor, stride: int = 1, padding: tuple[int, int] = (1, 1)
) -> Tensor:
    """Convolve x (B, H, W, C) with (3, 3, C, F), padded before and after each axis; add bias (F,).

    With stride 1 the padding must be (1, 1).
    """
    if axes := _repeats.get():
        return common.conv3x3_repeating(x, kernel, bias, stride, padding, axes)
    return _backend.conv3x3(x, kernel, bias, stride, padding)


def conv3x3_enlarged(
    x: Tensor, kernel: Tensor, bias: Tensor, height: int | None = None, width: int | None = None
) -> Tensor:
    """``conv3x3`` of x (B, H, W, C) made twice as large by nearest neighbour: (B, 2H, 2W, F).

    With a height and a width the enlarged map is cut to that size before.
    """
    if _repeats.get():
        return conv3x3(common.enlarged(x, height, width), kernel, bias)
    return _backend.conv3x3_enlarged(x, kernel, bias, height, width)


def split_linear(x: Tensor, kernel: Tensor, bias: Tensor | None, count: int) -> list[Tensor]:
    """x (..., C) times (C, F) plus bias (F,), in ``count`` equal parts: (..., F / count) each."""
    return _backend.split_linear(x, kernel, bias, count)


def group_norm(x: Tensor, gamma: Tensor, beta: Tensor, groups: int, epsilon: float) -> Tensor:
    """Normalize groups of channels (Wu & He 2018, arXiv 1803.08494): x (B, H, W, C) -> the same.

    gamma and beta (C,) are the scale and the shift afterwards.
    """
    return _backend.group_norm(x, gamma, beta, groups, epsilon)


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> Tensor:
    """Normalize the channels (Ba et al. 2016, arXiv 1607.06450): x (..., C) -> the same.

    gamma and beta (C,) are the scale and the shift afterwards.
    """
    return _backend.layer_norm(x, gamma, beta, epsilon)


def require_training() -> None:
    """Raise a NotImplementedError unless the backend computes gradients."""
    if not _backend.TRAINS:
        raise NotImplementedError(
            "The Keras backend must be one that trains: set KERAS_BACKEND to 'jax', "
            "'tensorflow' or 'torch' before the first import of Sfumato or Keras. "
            f"Received: KERAS_BACKEND={keras.backend.backend()!r}, which makes pictures only"
        )


# How a weight is stored

TAKES_VIEWS: bool = _backend.TAKES_VIEWS
"""Whether ``store`` takes arrays as they lie in the file: views of it, half precision included.
Elsewhere values are best written to ``empty`` memory in the dtype of the variable."""


def store(variable: keras.Variable, value: Any) -> Any:
    """Give a variable a value, whether it has one or not; return what it held, for ``restore``.

    Args:
        variable: of a layer that is built.
        value: a NumPy array or a tensor of the backend, of the shape that Keras has for it. It
            belongs to the variable from then on: its memory may be shared, never written to.

    Returns:
        An object of the backend, or None if the variable had no value.

    Raises:
        ValueError: the shapes differ.
    """
    if tuple(value.shape) != tuple(variable.shape):
        raise ValueError(
            f"`value` must have the shape of {variable.path}, {tuple(variable.shape)}. "
            f"Received: value of shape {tuple(value.shape)}"
        )
    vars(variable).pop("_direct_assign", None)  # of ``withhold``
    return _backend.store(variable, value)


def withhold(variable: keras.Variable) -> None:
    """Make a variable without a value one that takes its first by ``assign``, as by ``store``.

    Keras would assign to a placeholder, whose numbers are drawn whenever they are read. To read it
    becomes a ValueError, unless shapes are asked for.
    """
    draw = variable._initializer

    def refuse(shape: Any, dtype: Any = None) -> Tensor:
        if asks_for_shapes():
            return draw(shape, dtype=dtype)
        raise ValueError(
            f"`{variable.path}` must have a value before it is used. Give the network its values: "
            "`load_weights`, `set_weights`, `sfumato.checkpoints.fill`, or for training "
            "`initialize(seed)`."
        )

    variable._initializer = refuse
    variable._direct_assign = lambda value: store(variable, keras.ops.copy(value))


def asks_for_shapes() -> bool:
    """Whether Keras calls a layer for the shape of its result alone."""
    is_openvino = keras.backend.backend() == "openvino"  # where it says so in another way
    return in_stateless_scope() if is_openvino else in_symbolic_scope()


def restore(variable: keras.Variable, previous: Any) -> None:
    """Put back what ``store`` returned: the same memory, so the same bits."""
    _backend.restore(variable, previous)


def read(variable: keras.Variable) -> np.ndarray:
    """The value of a variable, without copying it if that can be; not to be written to.

    Of a float32 variable it may be half precision, if that is what is stored.
    """
    return _backend.read(variable)


def witness(variable: keras.Variable) -> Any:
    """What a variable holds now, for ``is_witness``."""
    return _backend.witness(variable)


def is_witness(variable: keras.Variable, seen: Any) -> bool:
    """Whether nobody assigned another value since ``witness``.

    Where a variable is one object for good, a row of its values stands for all.
    """
    now = _backend.witness(variable)
    return now is seen or (isinstance(seen, np.ndarray) and np.array_equal(now, seen))


def empty(
    shape: tuple[int, ...],
    dtype: np.dtype,
    is_kernel: bool,
    allocate: Callable[[tuple[int, ...], np.dtype], np.ndarray] = np.empty,
) -> np.ndarray:
    """Memory for a value, in the order in which ``store`` takes it over without copying.

    Args:
        shape: that Keras has for it.
        dtype: of the variable.
        is_kernel: whether it is of a linear layer or a convolution: (..., I, O).
        allocate: (shape, dtype) -> contiguous memory.
    """
    return _backend.empty(shape, dtype, is_kernel, allocate)
