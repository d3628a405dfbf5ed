"""Keywords of programs: the function sees them as they are, and each combination is compiled."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from sfumato import runtime

pytestmark = pytest.mark.backend("jax", "tensorflow", "torch", "openvino")

X = np.arange(6, dtype="float32").reshape(2, 3)


class Traced:
    """A function that notes the keywords of its calls."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, x: Any, **static: Any) -> Any:
        self.seen.append(static)
        return x * static.get("factor", 1) + (100 if static.get("far") else 0)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_each_combination_has_its_results(jit_compile: bool) -> None:
    program = runtime.compile(Traced(), [], jit_compile)
    for _ in range(2):
        assert np.array_equal(ops.convert_to_numpy(program(X)), X)
        assert np.array_equal(ops.convert_to_numpy(program(X, factor=3)), 3 * X)
        assert np.array_equal(ops.convert_to_numpy(program(X, factor=3, far=True)), 3 * X + 100)
        assert np.array_equal(ops.convert_to_numpy(program(X, far=True)), X + 100)


def test_each_combination_is_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    if keras.backend.backend() == "torch":
        monkeypatch.setattr("sfumato.runtime.torch.EAGER", 0)
    function = Traced()
    program = runtime.compile(function, [], True)
    for static in ({}, {"factor": 2}, {"far": True, "factor": 2}, {}, {"factor": 2, "far": True}):
        program(X, **static)
    assert function.seen == [{}, {"factor": 2}, {"far": True, "factor": 2}]


def test_equal_values_of_other_types_are_other_values() -> None:
    keys = [runtime.static_key({"x": x}) for x in (1, 1.0, True, "1", None)]
    assert len({*keys, runtime.static_key({})}) == 6
    assert runtime.static_key({"a": 1, "b": 2}) == runtime.static_key({"b": 2, "a": 1})


@pytest.mark.parametrize(
    "value",
    [[1], np.ones(2), {"a": 1}, (1, 2), object()],
    ids=["list", "array", "dict", "tuple", "object"],
)
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="`x` must be a number, a string or None"):
        runtime.compile(Traced(), [], True)(X, x=value)
