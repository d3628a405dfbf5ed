"""Every sampler on data whose answer is known: a normal distribution with mean MU and deviation S.

Its perfect denoiser is `(mu * sigma**2 + x * s**2) / (s**2 + sigma**2)`, and the probability flow
takes x from sigma to sigma' by `mu + (x - mu) * hypot(s, sigma') / hypot(s, sigma)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.diffusion import SAMPLERS, make_plan, run, sample, training_sigmas

HIGH, LOW = 10.0, 0.05
TRAINING = training_sigmas()

# Sampler, options and order of convergence; multistep methods lose orders to their first steps.
ORDERS = [
    ("euler", {}, 1), ("ddim", {}, 1), ("tcd", {"eta": 0.0}, 1), ("deis", {"order": 1}, 1),
    ("lms", {"order": 1}, 1), ("euler_a", {"eta": 0.0}, 1), ("heun", {}, 2), ("dpm2", {}, 2),
    ("dpm2_a", {"eta": 0.0}, 2), ("dpmpp_2m", {}, 2), ("dpmpp_2m_sde", {"eta": 0.0}, 2),
    ("dpmpp_2m_sde_heun", {"eta": 0.0}, 2), ("dpmpp_3m", {}, 2), ("dpmpp_3m_sde", {"eta": 0.0}, 2),
    ("dpmpp_sde", {"eta": 0.0}, 2), ("dpmpp_2s_a", {"eta": 0.0}, 2), ("dpmpp_2s", {}, 2),
    ("lms", {"order": 2}, 2), ("lms", {}, 2), ("unipc", {"order": 1}, 2), ("unipc", {}, 2),
    ("unipc", {"order": 3}, 2), ("unipc", {"order": 4}, 2),
    ("deis", {}, 2), ("deis", {"order": 3}, 2),
    ("deis", {"order": 4}, 2), ("plms", {}, 2), ("ipndm", {}, 2),
]  # fmt: skip
STOCHASTIC = [
    ("euler_a", {}), ("ddpm", {}), ("ddim", {"eta": 0.5}), ("ddim", {"eta": 1.0}),
    ("dpm2_a", {}), ("dpm2_a", {"eta": 0.5}), ("dpmpp_sde", {}), ("dpmpp_sde", {"eta": 0.5}),
    ("dpmpp_2s_a", {}), ("dpmpp_2m_sde", {}), ("dpmpp_2m_sde", {"eta": 0.5}),
    ("dpmpp_2m_sde_heun", {}), ("dpmpp_3m_sde", {}), ("dpmpp_3m_sde", {"eta": 0.5}),
]  # fmt: skip
CONSISTENCY = ("lcm", "tcd")


def denoiser(mu: Any, s: float) -> Callable[[Any, float], Any]:
    """The mean of the data given x, which is what a perfectly trained network says."""

    def denoise(x: Any, sigma: float) -> Any:
        return mu * (sigma**2 / (s**2 + sigma**2)) + x * (s**2 / (s**2 + sigma**2))

    return denoise


def reached(mu: float, s: float, x: float, sigma: float, to: float) -> float:
    return mu + (x - mu) * np.hypot(s, to) / np.hypot(s, sigma)


def moments(
    name: str, sigmas: np.ndarray, denoise: Callable[[Any, float], Any], s: float, **options: Any
) -> tuple[float, float]:
    """Mean (in units of mu) and deviation of what a sampler makes of the right start.

    x is kept as its coefficients of mu, of the start noise and of every later noise, so nothing
    is random here.
    """
    unit = np.eye(2 * len(sigmas) + 4)
    noises = iter(unit[2:])
    x = sample(name, sigmas, denoise, unit[0] + np.hypot(s, sigmas[0]) * unit[1],
               lambda: next(noises), TRAINING, **options)  # fmt: skip
    return x[0], float(np.linalg.norm(x[1:]))


def unit_mean(size: int) -> np.ndarray:
    return np.eye(1, size)[0]


@pytest.mark.parametrize(("name", "options", "order"), ORDERS)
def test_samplers_converge_with_their_order(name: str, options: dict, order: int) -> None:
    mu, s, x = 0.4, 0.7, 13.0

    def error(n: int) -> float:
        sigmas = np.geomspace(HIGH, LOW, n + 1)
        end = sample(name, sigmas, denoiser(mu, s), np.array([x]), None, TRAINING, **options)
        return abs(end[0] - reached(mu, s, x, HIGH, LOW))

    observed = np.log2(error(80) / error(320)) / 2.0
    # Some errors of higher order are still larger than the last one at these numbers of steps.
    assert observed > order - (0.6 if name == "unipc" else 0.15)
    assert error(160) < {1: 2e-2, 2: 3e-4}[order]


@pytest.mark.parametrize(("name", "options"), STOCHASTIC)
def test_noise_keeps_the_distribution(name: str, options: dict) -> None:
    s = 0.7

    def error(n: int) -> float:
        sigmas = np.geomspace(HIGH, LOW, n + 1)
        mean = unit_mean(2 * len(sigmas) + 4)
        expectation, deviation = moments(name, sigmas, denoiser(mean, s), s, **options)
        assert expectation == pytest.approx(1.0, abs=1e-9)
        return abs(deviation / np.hypot(s, LOW) - 1.0)

    assert error(160) < 0.04
    assert error(160) < 0.6 * error(40)


@pytest.mark.parametrize("name", CONSISTENCY)
@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_consistency_samplers_keep_the_distribution(name: str, n: int) -> None:
    """A consistency model answers with the end of the flow, and any number of steps is exact."""
    s = 0.7
    options = {"eta": 1.0} if name == "tcd" else {}
    sigmas = make_plan(TRAINING, n, name).sigmas
    mean = unit_mean(2 * len(sigmas) + 4)
    end_of_flow = lambda x, sigma: mean + (x - mean) * (s / np.hypot(s, sigma))  # noqa: E731
    expectation, deviation = moments(name, sigmas, end_of_flow, s, **options)
    assert expectation == pytest.approx(1.0, abs=1e-4)
    # TCD with eta = 1 goes down to the first training step, not to 0, before it adds noise.
    assert deviation == pytest.approx(s, rel=1e-4 if name == "lcm" else 3e-2)


@settings(deadline=None, max_examples=30)
@given(
    mu=st.floats(-2.0, 2.0),
    s=st.floats(0.5, 3.0),
    z=st.floats(-3.0, 3.0),
    # DDPM has no option to leave its noise out.
    name=st.sampled_from([row for row in SAMPLERS if row not in (*CONSISTENCY, "ddpm")]),
    schedule=st.sampled_from(["karras", "exponential", "sgm_uniform", "uniform"]),
)
def test_every_sampler_reaches_the_answer(
    mu: float, s: float, z: float, name: str, schedule: str
) -> None:
    options = {"eta": 0.0} if "eta" in SAMPLERS[name].options else {}
    made = make_plan(TRAINING, 200, name, schedule, **options)
    high = float(made.sigmas[0])
    x = mu + z * np.hypot(s, high)
    end = run(made, denoiser(mu, s), np.array([x]), lambda: np.zeros(1))[0]
    expected = reached(mu, s, x, high, 0.0)
    assert end == pytest.approx(expected, abs=0.05 * s * (1.0 + abs(z)))


@settings(deadline=None, max_examples=30)
@given(mu=st.floats(-3.0, 3.0), z=st.floats(-3.0, 3.0), name=st.sampled_from(sorted(SAMPLERS)))
def test_a_single_picture_is_found_exactly(mu: float, z: float, name: str) -> None:
    """If there is but one picture, every sampler ends with it, after any number of steps."""
    for n in (1, 2, 3, 8):
        made = make_plan(TRAINING, n, name)
        noise = np.random.default_rng(n)
        end = run(
            made,
            lambda x, sigma: np.full_like(x, mu),
            np.array([z]) * made.start_scale,
            lambda noise=noise: noise.normal(size=1),
        )
        assert end[0] == pytest.approx(mu, abs=1e-5)
