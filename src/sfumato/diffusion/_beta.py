"""Quantiles of the beta distribution, so that one schedule does not make SciPy a requirement."""

from __future__ import annotations

import math

import numpy as np


def beta_quantile(p: np.ndarray, a: float, b: float) -> np.ndarray:
    """The x with P(X <= x) = p for X ~ Beta(a, b); p of any shape in [0, 1], a and b > 0.

    Bisection on the angle of x = sin(angle)**2, in which x and 1 - x both keep their small values.
    """
    p = np.asarray(p, np.float64)
    low, high = np.zeros_like(p), np.full_like(p, np.pi / 2.0)
    for _ in range(60):
        middle = (low + high) / 2.0
        below = _distribution(middle, a, b) < p
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    quantile = np.sin((low + high) / 2.0) ** 2
    return np.where(p <= 0.0, 0.0, np.where(p >= 1.0, 1.0, quantile))


def _distribution(angle: np.ndarray, a: float, b: float) -> np.ndarray:
    """The regularised incomplete beta function at x = sin(angle)**2."""
    x, rest = np.sin(angle) ** 2, np.cos(angle) ** 2
    # The continued fraction converges fast below the mean; above it, use I_x(a, b) = 1 - I_(1-x)(b,
    # a).
    flip = x > (a + 1.0) / (a + b + 2.0)
    tail = _lower_tail(np.where(flip, rest, x), np.where(flip, x, rest), a, b, flip)
    return np.where(flip, 1.0 - tail, tail)


def _lower_tail(
    x: np.ndarray, rest: np.ndarray, a: float, b: float, flip: np.ndarray
) -> np.ndarray:
    """I_x by its continued fraction (NIST DLMF 8.17.22), from the last term to the first."""
    first, second = np.where(flip, b, a), np.where(flip, a, b)
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    fraction = np.ones_like(x)
    for m in range(60, 0, -1):
        even = m * (second - m) * x / ((first + 2 * m - 1) * (first + 2 * m))
        odd = -(first + m) * (first + second + m) * x / ((first + 2 * m) * (first + 2 * m + 1))
        fraction = 1.0 + even / (1.0 + odd / fraction)
    opening = -(first + second) * x / (first + 1.0)
    with np.errstate(divide="ignore"):  # x = 0 or 1 gives 0, rightly
        front = np.exp(first * np.log(x) + second * np.log(rest) - log_beta) / first
    return front / (1.0 + opening / fraction)
