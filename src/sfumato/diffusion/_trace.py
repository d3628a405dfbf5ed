"""Running a step function on symbols, which gives the matrices that do the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sfumato.diffusion.step import Step

REGISTERS = 6
_EVALUATIONS = 4  # the most that a step may need
_WIDTH = REGISTERS + 2 * _EVALUATIONS


class Form:
    """A linear form in the registers at the step's start and each answer and its noise."""

    __array_ufunc__ = None  # NumPy floats on the left must leave the arithmetic to this class
    __slots__ = ("factors",)

    def __init__(self, factors: np.ndarray) -> None:
        self.factors = factors

    def __add__(self, other: Form) -> Form:
        return Form(self.factors + other.factors)

    def __sub__(self, other: Form) -> Form:
        return Form(self.factors - other.factors)

    def __mul__(self, factor: float) -> Form:
        return Form(self.factors * float(factor))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Form:
        return Form(self.factors / float(divisor))

    def __neg__(self) -> Form:
        return Form(-self.factors)


@dataclass
class Trace:
    """One step: its evaluations, whether noise followed each, and its outputs as factors.

    `outputs` has the inputs of the second evaluation, the third, ..., then x, then what the method
    passes to the next step, of which there are `passed`.
    """

    sigmas: list[float] = field(default_factory=list)
    drawn: list[bool] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)
    passed: int = 0


def _symbol(column: int) -> Form:
    return Form(np.eye(_WIDTH)[column])


def trace_step(name: str, function: Callable[..., Any], step: Step, passed: int) -> Trace:
    """Run one step on symbols; the step before passed on so many arrays besides x."""
    trace = Trace()
    start = _symbol(0)

    def denoise(x: Form, sigma: float) -> Form:
        if not trace.sigmas and (x.factors is not start.factors or sigma != step.sigma):
            raise ValueError(f"sampler {name!r} must first ask about x at the step's sigma")
        if len(trace.sigmas) == _EVALUATIONS:
            raise ValueError(f"sampler {name!r} asks more than {_EVALUATIONS} times in a step")
        if trace.sigmas:
            trace.outputs.append(x.factors)
        trace.sigmas.append(float(sigma))
        trace.drawn.append(False)
        return _symbol(REGISTERS + 2 * (len(trace.sigmas) - 1))

    def noise() -> Form:
        if not trace.drawn or trace.drawn[-1]:
            raise ValueError(f"sampler {name!r} must draw noise at most once after each evaluation")
        trace.drawn[-1] = True
        return _symbol(REGISTERS + 2 * (len(trace.sigmas) - 1) + 1)

    old = tuple(_symbol(1 + k) for k in range(passed))
    x, old = function(start, step, denoise, noise, old)
    trace.outputs += [x.factors, *(form.factors for form in old)]
    trace.passed = len(old)
    return trace


def matrices_of(name: str, trace: Trace) -> list[np.ndarray]:
    """The matrices of one step's evaluations.

    Between them the registers hold, of every output still to come, the part that is computed. So
    each later evaluation only adds its answer and noise, and the outputs move up by one register.
    """
    if len(trace.outputs) > REGISTERS:
        raise ValueError(
            f"sampler {name!r} must fit into {REGISTERS} registers. "
            f"Received: {len(trace.outputs)} arrays"
        )
    matrices = []
    for number in range(len(trace.sigmas)):
        matrix = np.zeros((REGISTERS, REGISTERS + 2))
        for register, factors in enumerate(trace.outputs[number:]):
            if number == 0:
                matrix[register, :REGISTERS] = factors[:REGISTERS]
            else:
                matrix[register, register + 1] = 1.0
            column = REGISTERS + 2 * number
            matrix[register, REGISTERS:] = factors[column : column + 2]
        matrices.append(matrix)
    return matrices
