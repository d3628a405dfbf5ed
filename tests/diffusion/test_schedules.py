"""Noise schedules against diffusers' spacings, and what must hold for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    TCDScheduler,
)
from diffusers.schedulers import AysSchedules
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.diffusion import (
    SCHEDULES,
    find_schedule,
    sigma_to_timestep,
    timestep_to_sigma,
    training_sigmas,
)

# diffusers turns tensors into arrays in a way that NumPy 2 and torch do not like.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TRAINING = training_sigmas()
STEPS = (1, 2, 4, 10, 25, 48, 50, 100)
SPACINGS = [
    (name, spacing, steps)
    for name, spacing in (("uniform", "linspace"), ("leading", "leading"), ("trailing", "trailing"))
    for steps in STEPS
    # A single step of "linspace" starts from the lowest noise in diffusers, from the highest here.
    if (name, steps) != ("uniform", 1)
]


def sigmas_of(scheduler: Any) -> np.ndarray:
    abar = scheduler.alphas_cumprod.double().numpy()
    return np.sqrt((1.0 - abar) / abar)


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
@pytest.mark.parametrize(
    ("start", "end", "schedule"),
    [
        (0.00085, 0.012, "scaled_linear"),
        (0.0001, 0.02, "linear"),
        (0.0001, 0.02, "squaredcos_cap_v2"),
    ],
)
def test_training_sigmas_are_diffusers(
    start: float, end: float, schedule: str, zero_terminal_snr: bool
) -> None:
    scheduler = EulerDiscreteScheduler(
        beta_start=start,
        beta_end=end,
        beta_schedule=schedule,
        rescale_betas_zero_snr=zero_terminal_snr,
    )
    ours = training_sigmas(start, end, schedule, zero_terminal_snr=zero_terminal_snr)
    # diffusers multiplies a thousand float32 numbers.
    kept = slice(0, 990) if schedule != "scaled_linear" else slice(None)
    np.testing.assert_allclose(ours[kept], sigmas_of(scheduler)[kept], rtol=2e-3)
    np.testing.assert_allclose(ours[100:900], sigmas_of(scheduler)[100:900], rtol=1e-4)


def test_zero_terminal_snr_ends_at_4096() -> None:
    sigmas = training_sigmas(zero_terminal_snr=True)
    assert sigmas[-1] == pytest.approx(4096.0, rel=1e-6)
    assert sigmas[0] == pytest.approx(TRAINING[0], rel=1e-12)


@settings(deadline=None)
@given(
    start=st.floats(1e-6, 0.01),
    width=st.floats(0.0, 0.05),
    schedule=st.sampled_from(["scaled_linear", "linear", "squaredcos_cap_v2"]),
    zero_terminal_snr=st.booleans(),
)
def test_training_sigmas_rise(
    start: float, width: float, schedule: str, zero_terminal_snr: bool
) -> None:
    sigmas = training_sigmas(start, start + width, schedule, 1000, zero_terminal_snr)
    assert sigmas[0] > 0
    assert (np.diff(sigmas) > 0).all()
    assert np.isfinite(sigmas).all()


@pytest.mark.parametrize(("name", "spacing", "steps"), SPACINGS)
def test_spacings_are_diffusers(name: str, spacing: str, steps: int) -> None:
    scheduler = EulerDiscreteScheduler(**SD, timestep_spacing=spacing, steps_offset=1)
    scheduler.set_timesteps(steps)
    sigmas, timesteps = SCHEDULES[name].levels(TRAINING, steps)
    np.testing.assert_allclose(timesteps, scheduler.timesteps.numpy(), atol=1e-4)
    # Between training steps diffusers interpolates sigma, k-diffusion and this library log sigma.
    rtol = 1e-4 if name == "uniform" else 2e-5
    np.testing.assert_allclose(sigmas, scheduler.sigmas.numpy(), rtol=rtol)


@pytest.mark.parametrize(("name", "spacing", "steps"), SPACINGS)
def test_whole_spacings_are_diffusers_ddim(name: str, spacing: str, steps: int) -> None:
    scheduler = DDIMScheduler(**SD, timestep_spacing=spacing, steps_offset=1)
    scheduler.set_timesteps(steps)
    _, timesteps = SCHEDULES[name].levels(TRAINING, steps, whole=True)
    np.testing.assert_array_equal(timesteps, scheduler.timesteps.numpy())


@pytest.mark.parametrize("steps", STEPS)
def test_whole_sgm_uniform_is_diffusers_dpm_solver_spacing(steps: int) -> None:
    scheduler = DPMSolverMultistepScheduler(**SD)
    scheduler.set_timesteps(steps)
    sigmas, timesteps = SCHEDULES["sgm_uniform"].levels(TRAINING, steps, whole=True)
    np.testing.assert_array_equal(timesteps, scheduler.timesteps.numpy())
    np.testing.assert_allclose(sigmas, scheduler.sigmas.numpy(), rtol=2e-5)


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", ["karras", "exponential", "beta"])
def test_sigma_schedules_are_diffusers(name: str, steps: int, zero_terminal_snr: bool) -> None:
    flags = {f"use_{name}_sigmas": True, "rescale_betas_zero_snr": zero_terminal_snr}
    scheduler = DPMSolverMultistepScheduler(**SD, **flags)
    scheduler.set_timesteps(steps)
    training = training_sigmas(zero_terminal_snr=zero_terminal_snr)
    sigmas, timesteps = SCHEDULES[name].levels(training, steps)
    np.testing.assert_allclose(sigmas, scheduler.sigmas.numpy(), rtol=3e-5)
    if name == "karras":  # the others it cuts off instead of rounding
        _, whole = SCHEDULES[name].levels(training, steps, whole=True)
        np.testing.assert_array_equal(whole, scheduler.timesteps.numpy())
    if steps > 1:  # a single step of diffusers' Euler starts from the lowest noise
        euler = EulerDiscreteScheduler(**SD, **flags)
        euler.set_timesteps(steps)
        np.testing.assert_allclose(sigmas, euler.sigmas.numpy(), rtol=3e-5)
        np.testing.assert_allclose(timesteps, euler.timesteps.numpy(), atol=2e-2)


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_ays_is_the_published_table(family: str) -> None:
    key = {"sd": "StableDiffusionSigmas", "sdxl": "StableDiffusionXLSigmas"}[family]
    np.testing.assert_allclose(
        SCHEDULES["ays"](TRAINING, 10, family=family), AysSchedules[key], rtol=1e-12
    )


def test_ays_timesteps_are_the_published_ones() -> None:
    _, timesteps = SCHEDULES["ays"].levels(TRAINING, 10, whole=True)
    assert np.abs(timesteps - AysSchedules["StableDiffusionTimesteps"]).max() <= 1


@pytest.mark.parametrize("scheduler_class", [LCMScheduler, TCDScheduler])
@pytest.mark.parametrize("steps", [1, 2, 4, 7, 8, 50])
def test_lcm_timesteps_are_diffusers(scheduler_class: Any, steps: int) -> None:
    scheduler = scheduler_class(**SD)
    scheduler.set_timesteps(steps)
    _, timesteps = SCHEDULES["lcm"].levels(TRAINING, steps)
    np.testing.assert_array_equal(timesteps, scheduler.timesteps.numpy())


def test_lcm_has_no_more_steps_than_were_learned() -> None:
    with pytest.raises(ValueError, match="at most 50 for the lcm schedule. Received: n=51"):
        SCHEDULES["lcm"](TRAINING, 51)


def test_simple_counts_from_the_end() -> None:
    _, timesteps = SCHEDULES["simple"].levels(TRAINING, 3)
    assert timesteps.tolist() == [999.0, 666.0, 333.0]


def test_kl_optimal_is_even_in_the_angle() -> None:
    angles = np.arctan(SCHEDULES["kl_optimal"](TRAINING, 7)[:-1])
    np.testing.assert_allclose(np.diff(angles), np.diff(angles)[0])
    np.testing.assert_allclose(np.tan(angles[[0, -1]]), TRAINING[[-1, 0]])


def test_options_reach_the_schedules() -> None:
    np.testing.assert_allclose(
        SCHEDULES["polyexponential"](TRAINING, 9), SCHEDULES["exponential"](TRAINING, 9)
    )
    assert SCHEDULES["polyexponential"](TRAINING, 3, rho=2.0)[1] < 0.3
    low, high = np.cbrt(TRAINING[[0, -1]])
    middle = SCHEDULES["karras"](TRAINING, 3, rho=3.0)[1]
    assert middle == pytest.approx(((low + high) / 2.0) ** 3)


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 200),
    start=st.floats(1e-5, 0.01),
    width=st.floats(0.0, 0.02),
    beta_schedule=st.sampled_from(["scaled_linear", "linear"]),
    zero_terminal_snr=st.booleans(),
    whole=st.booleans(),
)
def test_schedules_fall_strictly_to_zero(
    n: int, start: float, width: float, beta_schedule: str, zero_terminal_snr: bool, whole: bool
) -> None:
    training = training_sigmas(
        start, start + width, beta_schedule, zero_terminal_snr=zero_terminal_snr
    )
    for name, schedule in SCHEDULES.items():
        if name == "lcm" and n > 50:
            continue
        sigmas, timesteps = schedule.levels(training, n, whole)
        assert sigmas.shape == (n + 1,), name
        assert timesteps.shape == (n,), name
        assert sigmas.dtype == timesteps.dtype == np.float64
        assert sigmas[-1] == 0.0
        assert (np.diff(sigmas) < 0).all(), name
        assert (np.diff(timesteps) <= 0).all(), name
        assert timesteps.min() >= 0, name
        assert timesteps.max() <= 999, name
        assert not whole or (timesteps == np.round(timesteps)).all(), name


@settings(deadline=None)
@given(timestep=st.floats(0, 999))
def test_timesteps_and_sigmas_are_inverse(timestep: float) -> None:
    again = sigma_to_timestep(TRAINING, timestep_to_sigma(TRAINING, timestep))
    assert again == pytest.approx(timestep, abs=2e-7)


def test_training_steps_are_met_exactly() -> None:
    whole = np.arange(1000)
    np.testing.assert_array_equal(sigma_to_timestep(TRAINING, TRAINING), whole)
    np.testing.assert_array_equal(timestep_to_sigma(TRAINING, whole), TRAINING)
    assert sigma_to_timestep(TRAINING, 0.0) == 0.0
    assert sigma_to_timestep(TRAINING, 1e6) == 999.0


def test_timesteps_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`timestep` must be in \[0, 999\]"):
        timestep_to_sigma(TRAINING, 999.5)


@pytest.mark.parametrize("n", [0, 1001, 2.5])
def test_numbers_of_steps_out_of_range_are_refused(n: float) -> None:
    with pytest.raises(ValueError, match=f"`n` must be a whole number from 1 to 1000.*n={n}"):
        SCHEDULES["karras"](TRAINING, n)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_schedule": "cosine"}, "`beta_schedule` must be one of"),
        ({"beta_start": 0.0}, "0 < beta_start <= beta_end < 1"),
        ({"beta_end": 0.0001}, "0 < beta_start <= beta_end < 1"),
        ({"timesteps": 1}, "`timesteps` must be a whole number from 2"),
    ],
)
def test_training_noise_that_makes_no_sense_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        training_sigmas(**options)


def test_unknown_ays_families_are_refused() -> None:
    with pytest.raises(ValueError, match="`family` must be one of"):
        SCHEDULES["ays"](TRAINING, 5, family="sd3")


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.6), (0.5, 0.7), (1.0, 1.0), (2.0, 5.0)])
def test_beta_levels_are_quantiles(a: float, b: float) -> None:
    low, high = TRAINING[[0, -1]]
    for n in (2, 5, 25, 201):
        quantiles = scipy.stats.beta.ppf(1.0 - np.linspace(0.0, 1.0, n), a, b)
        levels = SCHEDULES["beta"](TRAINING, n, alpha=a, beta=b)[:-1]
        np.testing.assert_allclose(levels, low + (high - low) * quantiles, rtol=1e-9, atol=1e-13)


def test_beta_levels_by_bisection() -> None:
    """The same from the distribution's continued fraction, computed without SciPy."""
    expected = [
        14.614641229333639, 12.821769225239333, 9.324475333110634, 5.319333054374717,
        1.822039162246029, 0.029167158151720367,
    ]  # fmt: skip
    np.testing.assert_allclose(SCHEDULES["beta"](TRAINING, 6)[:-1], expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("karras", {"rho": 0.0}, "`rho` must be from 0.01 to 1000.0. Received: rho=0.0"),
        ("karras", {"rho": np.inf}, "`rho` must be from .* Received: rho=inf"),
        ("karras", {"rho": np.nan}, "`rho` must be from .* Received: rho=nan"),
        ("karras", {"rho": "7"}, "`rho` must be from .* Received: rho='7'"),
        ("karras", {"rho": True}, "`rho` must be from .* Received: rho=True"),
        ("karras", {"rho": 10**400}, "`rho` must be from"),
        ("polyexponential", {"rho": -1.0}, "`rho` must be from"),
        ("beta", {"alpha": 0.0}, "`alpha` must be from"),
        ("beta", {"beta": -1}, "`beta` must be from"),
        ("leading", {"steps_offset": 0.5}, "`steps_offset` must be from 0 to 999. Received"),
        ("leading", {"steps_offset": -1}, "`steps_offset` must be from"),
        ("lcm", {"original_steps": 0}, "`original_steps` must be from 1 to 1000"),
        ("ays", {"family": ["sd"]}, "`family` must be one of"),
        ("karras", {"eta": 1.0}, r"options of schedule 'karras' are \['rho'\].*: \['eta'\]"),
        ("uniform", {"rho": 1.0}, r"options of schedule 'uniform' are \[\]"),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SCHEDULES[name](TRAINING, 5, **options)


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 200),
    value=st.floats(0.01, 1000.0),
    other=st.floats(0.01, 1000.0),
    zero_terminal_snr=st.booleans(),
)
def test_extreme_options_give_levels_that_fall_or_an_error(
    n: int, value: float, other: float, zero_terminal_snr: bool
) -> None:
    training = training_sigmas(zero_terminal_snr=zero_terminal_snr)
    for name, options in (
        ("karras", {"rho": value}),
        ("polyexponential", {"rho": value}),
        ("beta", {"alpha": value, "beta": other}),
    ):
        try:
            sigmas, timesteps = SCHEDULES[name].levels(training, n, **options)
        except ValueError as error:
            assert f"options of schedule {name!r} must give {n} levels" in str(error)  # noqa: PT017
        else:
            assert np.isfinite(sigmas).all()
            assert np.isfinite(timesteps).all()
            assert (np.diff(sigmas) < 0).all()


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_say_their_options(name: str) -> None:
    expected = {
        "karras": ("rho",), "polyexponential": ("rho",), "beta": ("alpha", "beta"),
        "leading": ("steps_offset",), "lcm": ("original_steps",), "ays": ("family",),
    }  # fmt: skip
    assert SCHEDULES[name].options == expected.get(name, ())


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("Uniform", "uniform"),
        ("normal", "uniform"),
        ("discrete", "uniform"),
        ("Karras", "karras"),
        ("KARRAS", "karras"),
        ("Exponential", "exponential"),
        ("Polyexponential", "polyexponential"),
        ("SGM Uniform", "sgm_uniform"),
        ("SGMUniform", "sgm_uniform"),
        ("sgm_uniform", "sgm_uniform"),
        ("KL Optimal", "kl_optimal"),
        ("Align Your Steps", "ays"),
        ("align_your_steps", "ays"),
        ("Simple", "simple"),
        ("Beta", "beta"),
        ("DDIM", "leading"),
        ("ddim_uniform", "leading"),
        ("Turbo", "trailing"),
        ("lcm", "lcm"),
    ],
)
def test_schedules_have_the_names_of_other_programs(alias: str, name: str) -> None:
    assert find_schedule(alias) is SCHEDULES[name]
    assert find_schedule(SCHEDULES[name]) is SCHEDULES[name]


def test_unknown_schedules_list_the_known() -> None:
    with pytest.raises(
        ValueError, match="`schedule` must be one of uniform, .*Received: schedule='x'"
    ):
        find_schedule("x")
