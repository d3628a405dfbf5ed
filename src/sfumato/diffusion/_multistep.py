"""The weights of earlier answers in a step of the multistep methods. Floats only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial

from sfumato.diffusion.step import Step

# Adams-Bashforth on even steps: weights of the newest derivative first (Hairer et al., Solving ODEs
# I, III.1).
_ADAMS = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def combine(x: Any, weights: Sequence[float], eps: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """x plus the weighted derivatives, newest first; and the three newest of them."""
    for weight, derivative in zip(weights, eps, strict=False):
        x = x + weight * derivative
    return x, eps[:3]


def adams(step: Step, earlier: int) -> list[float]:
    """Weights as if all steps were even in sigma; `earlier`: derivatives besides the newest."""
    return [(step.next - step.sigma) * weight for weight in _ADAMS[earlier]]


def lms(step: Step, earlier: int) -> list[float]:
    """Integrals over sigma of the polynomials through the newest derivatives."""
    width = step.next - step.sigma
    nodes = [(sigma - step.sigma) / width for sigma in _newest(step, earlier)]
    return [width * float(_lagrange(nodes, k).integ()(1.0)) for k in range(len(nodes))]


def deis(step: Step, earlier: int) -> list[float]:
    """Integrals over sigma of the polynomials in log sigma through the newest derivatives.

    The last step, to 0, is of first order: log sigma has no value there to extrapolate to.
    """
    if step.next == 0:
        return [-step.sigma]
    nodes = [math.log(sigma / step.sigma) for sigma in _newest(step, earlier)]
    weights = []
    for k in range(len(nodes)):
        # The integral of p(u) exp(u) is (p - p' + p'' - ...)(u) exp(u), with u = log(sigma /
        # step.sigma).
        term = whole = _lagrange(nodes, k)
        for _ in range(earlier):
            term = -term.deriv()
            whole = whole + term
        weights.append(step.next * float(whole(-step.h)) - step.sigma * float(whole(0.0)))
    return weights


def unipc(
    sigmas: tuple[float, ...], i: int, x: Any, answers: Sequence[Any], reached: Any = None
) -> Any:
    """UniP from sigmas[i] to sigmas[i + 1], or UniC when `reached`, the answer there, is given.

    Zhao et al. 2023 (arXiv 2302.04867), algorithms 1 and 2 for data prediction, with its B2(h).
    `answers` has those at sigmas[i], sigmas[i - 1], ...: their number is the order.
    """
    sigma, to = sigmas[i], sigmas[i + 1]
    if to == 0:
        return answers[0]
    h = math.log(sigma / to)
    r = [math.log(sigma / sigmas[i - k]) / h for k in range(1, len(answers))]
    slopes = [(a - answers[0]) / ratio for a, ratio in zip(answers[1:], r, strict=True)]
    if reached is not None:
        r.append(1.0)
        slopes.append(reached - answers[0])
    x = (to / sigma) * x - math.expm1(-h) * answers[0]
    for weight, slope in zip(_unipc_weights(h, r), slopes, strict=True):
        x = x - math.expm1(-h) * weight * slope
    return x


def _unipc_weights(h: float, r: list[float]) -> list[float]:
    """The solution a of R a = b; 1/2 for a single unknown, as the paper sets it."""
    if len(r) < 2:
        return [0.5] * len(r)
    phi, right = math.expm1(-h) / -h - 1.0, []
    for k in range(1, len(r) + 1):
        right.append(phi * math.factorial(k) / math.expm1(-h))
        phi = phi / -h - 1.0 / math.factorial(k + 1)
    powers = np.array([[ratio**k for ratio in r] for k in range(len(r))])
    return np.linalg.solve(powers, np.array(right)).tolist()


def _newest(step: Step, earlier: int) -> list[float]:
    return [step.sigmas[step.index - k] for k in range(earlier + 1)]


def _lagrange(nodes: list[float], k: int) -> Polynomial:
    """The polynomial that is 1 at node k and 0 at the others."""
    others = [node for j, node in enumerate(nodes) if j != k]
    basis = Polynomial.fromroots(others) if others else Polynomial([1.0])
    return basis / math.prod(nodes[k] - other for other in others)
