"""Running a step function on symbols: which matrices do what it does?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sfumato.diffusion.step import Step

REGISTERS = 6
_QUESTIONS = 4  # the most that a step may ask
_WIDTH = REGISTERS + 2 * _QUESTIONS


class Form:
    """A linear form in the registers at the step's start and each answer and its noise."""

    __array_ufunc__ = None  # NumPy floats on the left must leave the arithmetic to this class
    __slots__ = ("row",)

    def __init__(self, row: np.ndarray) -> None:
        self.row = row

    def __add__(self, other: Form) -> Form:
        return Form(self.row + other.row)

    def __sub__(self, other: Form) -> Form:
        return Form(self.row - other.row)

    def __mul__(self, factor: float) -> Form:
        return Form(self.row * float(factor))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Form:
        return Form(self.row / float(divisor))

    def __neg__(self) -> Form:
        return Form(-self.row)


@dataclass
class Trace:
    """One step: its questions, whether noise followed each, and its outputs as coefficients.

    `outputs` has the inputs of the second question, the third, ..., then x, then what is kept for
    the next step.
    """

    sigmas: list[float] = field(default_factory=list)
    drawn: list[bool] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)
    kept: int = 0


def _symbol(column: int) -> Form:
    return Form(np.eye(_WIDTH)[column])


def trace_step(name: str, function: Callable[..., Any], step: Step, kept: int) -> Trace:
    """Run one step on symbols, `kept` registers besides x being filled."""
    trace = Trace()
    start = _symbol(0)

    def denoise(x: Form, sigma: float) -> Form:
        if not trace.sigmas and (x.row is not start.row or sigma != step.sigma):
            raise ValueError(f"sampler {name!r} must first ask about x at the step's sigma")
        if len(trace.sigmas) == _QUESTIONS:
            raise ValueError(f"sampler {name!r} asks more than {_QUESTIONS} times in a step")
        if trace.sigmas:
            trace.outputs.append(x.row)
        trace.sigmas.append(float(sigma))
        trace.drawn.append(False)
        return _symbol(REGISTERS + 2 * (len(trace.sigmas) - 1))

    def noise() -> Form:
        if not trace.drawn or trace.drawn[-1]:
            raise ValueError(f"sampler {name!r} must draw noise at most once after each question")
        trace.drawn[-1] = True
        return _symbol(REGISTERS + 2 * (len(trace.sigmas) - 1) + 1)

    old = tuple(_symbol(1 + k) for k in range(kept))
    x, old = function(start, step, denoise, noise, old)
    trace.outputs += [x.row, *(form.row for form in old)]
    trace.kept = len(old)
    return trace


def matrices_of(name: str, trace: Trace) -> list[np.ndarray]:
    """The matrices of one step's questions.

    Between its questions the registers hold, of every output still to come, the part that is known;
    so each later question only adds its answer and noise, and the outputs move up by one register.
    """
    asked = len(trace.sigmas)
    if len(trace.outputs) > REGISTERS:
        raise ValueError(
            f"sampler {name!r} must fit into {REGISTERS} registers. "
            f"Received: {len(trace.outputs)} arrays to keep"
        )
    matrices = []
    for question in range(asked):
        matrix = np.zeros((REGISTERS, REGISTERS + 2))
        for register, row in enumerate(trace.outputs[question:]):
            if question == 0:
                matrix[register, :REGISTERS] = row[:REGISTERS]
            else:
                matrix[register, register + 1] = 1.0
            column = REGISTERS + 2 * question
            matrix[register, REGISTERS:] = row[column : column + 2]
        matrices.append(matrix)
    return matrices
