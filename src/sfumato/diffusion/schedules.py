"""Noise schedules: pure functions from the training noise to the n + 1 noise levels of a picture.

Every schedule is `(training_sigmas, n, **options) -> float64 (n + 1,)`, strictly falling and ending
in 0. Sigma is the standard deviation of the noise where the data's scale is left alone: `sigma =
sqrt((1 - abar) / abar)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfumato._numbers import whole_number
from sfumato.diffusion._lookup import check_options, find_row, option_names

BETA_SCHEDULES = ("scaled_linear", "linear", "squaredcos_cap_v2")


def training_sigmas(
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    beta_schedule: str = "scaled_linear",
    timesteps: int = 1000,
    zero_terminal_snr: bool = False,
) -> np.ndarray:
    """The noise levels a network was trained on, float64 (timesteps,), rising.

    Args:
        beta_start, beta_end: variance added by the first and the last training step, 0 < beta_start
            <= beta_end < 1.
        beta_schedule: "scaled_linear" (Stable Diffusion: linear in sqrt(beta)), "linear" (Ho et al.
            2020) or "squaredcos_cap_v2" (Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 17; betas
            unused).
        timesteps: number of training steps, at least 2.
        zero_terminal_snr: rescale so that the last step has no signal (Lin et al. 2023, arXiv
            2305.08891, algorithm 1). Its sigma would be infinite; as usual it is kept at 4096 (abar
            = 2**-24).
    """
    timesteps = whole_number("timesteps", timesteps, 2)
    abar = np.cumprod(1.0 - _betas(beta_start, beta_end, beta_schedule, timesteps))
    if zero_terminal_snr:
        root = np.sqrt(abar)
        abar = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
        # Below its predecessor in any case: very small betas come near 2**-24 before the end.
        abar[-1] = min(2.0**-24, abar[-2] / 2.0)
    return np.sqrt((1.0 - abar) / abar)


def edm_sigmas(sigma_min: float, sigma_max: float, count: int = 1000) -> np.ndarray:
    """The noise levels of a network that was trained on all of them, even in log sigma, rising.

    Schedules that choose timesteps choose among these.
    """
    if not 0.0 < sigma_min < sigma_max:
        raise ValueError(
            "`sigma_min` and `sigma_max` must satisfy 0 < sigma_min < sigma_max. "
            f"Received: sigma_min={sigma_min}, sigma_max={sigma_max}"
        )
    return np.geomspace(sigma_min, sigma_max, count)


def _betas(start: float, end: float, schedule: str, timesteps: int) -> np.ndarray:
    if not 0.0 < start <= end < 1.0:
        raise ValueError(
            "`beta_start` and `beta_end` must satisfy 0 < beta_start <= beta_end < 1. "
            f"Received: beta_start={start}, beta_end={end}"
        )
    if schedule == "scaled_linear":
        return np.linspace(start**0.5, end**0.5, timesteps) ** 2
    if schedule == "linear":
        return np.linspace(start, end, timesteps)
    if schedule == "squaredcos_cap_v2":
        level = np.cos((np.arange(timesteps + 1) / timesteps + 0.008) / 1.008 * np.pi / 2.0) ** 2
        return np.minimum(1.0 - level[1:] / level[:-1], 0.999)
    raise ValueError(
        f"`beta_schedule` must be one of {BETA_SCHEDULES}. Received: beta_schedule={schedule!r}"
    )


def sigma_to_timestep(training: np.ndarray, sigma: np.ndarray | float) -> np.ndarray:
    """The timestep of a noise level: linear in log sigma between training steps, clipped to them.

    A training sigma gives exactly its integer. Returns float64 of `sigma`'s shape.
    """
    levels = np.log(np.maximum(np.asarray(sigma, np.float64), 1e-10))
    timestep = np.interp(levels, np.log(training), np.arange(len(training)))
    nearest = np.round(timestep)
    return np.where(np.abs(timestep - nearest) < 1e-7, nearest, timestep)


def timestep_to_sigma(training: np.ndarray, timestep: np.ndarray | float) -> np.ndarray:
    """Inverse of `sigma_to_timestep`, float64; timesteps from 0 to len(training) - 1."""
    timestep = np.asarray(timestep, np.float64)
    if np.any(timestep < 0) or np.any(timestep > len(training) - 1):
        raise ValueError(
            f"`timestep` must be in [0, {len(training) - 1}]. "
            f"Received: timestep={timestep.tolist()}"
        )
    between = np.exp(np.interp(timestep, np.arange(len(training)), np.log(training)))
    whole = timestep.astype(np.int64)
    return np.where(whole == timestep, training[whole], between)


# Schedules that choose timesteps: (training steps T, n) -> float64 (n,), falling.


def uniform_timesteps(T: int, n: int) -> np.ndarray:
    """Evenly spaced from the last training step to the first."""
    return np.linspace(T - 1, 0, n)


def sgm_uniform_timesteps(T: int, n: int) -> np.ndarray:
    """Evenly spaced, the first training step left out: Stability AI's generative-models."""
    return np.linspace(T - 1, 0, n + 1)[:-1]


def leading_timesteps(T: int, n: int, *, steps_offset: int = 1) -> np.ndarray:
    """Multiples of T // n, plus an offset: CompVis' DDIM, diffusers' "leading" spacing."""
    return np.arange(n)[::-1] * (T // n) + float(min(steps_offset, T - 1 - (n - 1) * (T // n)))


def trailing_timesteps(T: int, n: int) -> np.ndarray:
    """From the last training step by T / n: Lin et al. 2023 (arXiv 2305.08891), section 3.3."""
    return np.round(np.arange(T, 0, -T / n)[:n]) - 1.0


def simple_timesteps(T: int, n: int) -> np.ndarray:
    """Every (T / n)-th training step counted from the end: ComfyUI's "simple"."""
    return T - 1.0 - np.floor(np.arange(n) * (T / n))


def lcm_timesteps(T: int, n: int, *, original_steps: int = 50) -> np.ndarray:
    """Timesteps a consistency model was distilled on: Luo et al. 2023 (arXiv 2310.04378).

    `n` may be at most `original_steps`.
    """
    if n > original_steps:
        raise ValueError(
            f"`n` must be at most {original_steps} for the lcm schedule. Received: n={n}"
        )
    learned = np.arange(original_steps, 0, -1.0) * (T // original_steps) - 1.0
    return learned[np.floor(np.linspace(0, original_steps, n, endpoint=False)).astype(np.int64)]


# Schedules that choose sigmas: (training, n) -> float64 (n,), falling.


def karras(training: np.ndarray, n: int, *, rho: float = 7.0) -> np.ndarray:
    """Evenly spaced in sigma**(1 / rho): Karras et al. 2022 (arXiv 2206.00364, eq. 5)."""
    ramp = np.linspace(training[-1] ** (1.0 / rho), training[0] ** (1.0 / rho), n)
    return ramp**rho


def polyexponential(training: np.ndarray, n: int, *, rho: float = 1.0) -> np.ndarray:
    """log sigma falls as a ramp to the power of rho, 1 being exponential: k-diffusion."""
    low, high = np.log(training[[0, -1]])
    return np.exp(low + (high - low) * np.linspace(1.0, 0.0, n) ** rho)


def exponential(training: np.ndarray, n: int) -> np.ndarray:
    """Evenly spaced in log sigma, the time of DPM-Solver: Lu et al. 2022 (arXiv 2206.00927)."""
    return polyexponential(training, n)


def beta(training: np.ndarray, n: int, *, alpha: float = 0.6, beta: float = 0.6) -> np.ndarray:
    """Quantiles of a beta distribution over sigma: Lee et al. 2024 (arXiv 2407.12173)."""
    from scipy.special import betaincinv  # takes half a second to import, for one schedule

    low, high = training[[0, -1]]
    return low + (high - low) * betaincinv(alpha, beta, 1.0 - np.linspace(0.0, 1.0, n))


def kl_optimal(training: np.ndarray, n: int) -> np.ndarray:
    """Evenly spaced in arctan sigma: Sabour et al. 2024 (arXiv 2404.14507)."""
    low, high = np.arctan(training[[0, -1]])
    return np.tan(np.linspace(high, low, n))


# The optimised levels that the paper's authors publish for 10 steps of Stable Diffusion 1.5 and XL.
_AYS = {
    "sd": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
}


def ays(training: np.ndarray, n: int, *, family: str = "sd") -> np.ndarray:
    """Align Your Steps: Sabour et al. 2024 (arXiv 2404.14507); other n by log-linear interpolation.

    `family` is "sd" or "sdxl". The levels are the paper's whatever the training noise.
    """
    published = np.log(_AYS[family])
    return np.exp(np.interp(np.linspace(0, 10, n + 1)[:-1], np.arange(11), published))


@dataclass(frozen=True)
class Schedule:
    """A row of the table; `schedule(training_sigmas, n, **options) -> float64 (n + 1,)`.

    Attributes:
        name: the canonical name.
        label: A1111's label, which is written into recipes.
        function: one of the functions above.
        aliases: further names.
        chooses_timesteps: `function` chooses timesteps; otherwise it chooses sigmas.
    """

    name: str
    label: str
    function: Callable[..., np.ndarray]
    aliases: tuple[str, ...] = ()
    chooses_timesteps: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options that may be given to this schedule, such as `rho`."""
        return option_names(self.function)

    def __call__(self, training: np.ndarray, n: int, **options: Any) -> np.ndarray:
        """The noise levels, float64 (n + 1,), strictly falling to 0."""
        return self.levels(training, n, False, **options)[0]

    def levels(
        self, training: np.ndarray, n: int, whole: bool = False, **options: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """The noise levels (n + 1,) and the network's timesteps (n,), both float64.

        With `whole` the timesteps are integers, as samplers defined on training steps want them: a
        schedule that chooses timesteps then takes its sigmas from the rounded ones, any other keeps
        its sigmas.

        Raises:
            ValueError: `n` is not from 1 to the number of training steps, the schedule has no such
                option, or its value is out of range or so extreme that levels do not fall.
        """
        T = len(training)
        n = whole_number("n", n, 1, T)
        options = check_options(f"schedule {self.name!r}", self.options, options)

        if self.chooses_timesteps:
            timesteps = self.function(T, n, **options)
            timesteps = np.round(timesteps) if whole else timesteps
            sigmas = timestep_to_sigma(training, timesteps)
        else:
            with np.errstate(over="ignore", invalid="ignore"):  # of extreme options: see below
                sigmas = self.function(training, n, **options)
            timesteps = sigma_to_timestep(training, sigmas)
            timesteps = np.round(timesteps) if whole else timesteps

        sigmas = np.append(sigmas, 0.0)
        if options and not (np.diff(sigmas) < 0.0).all():
            raise ValueError(
                f"options of schedule {self.name!r} must give {n} levels that fall. "
                f"Received: {options}"
            )
        return sigmas, timesteps


_TABLE = (
    Schedule("uniform", "Uniform", uniform_timesteps, ("normal", "discrete", "linspace"), True),
    Schedule("leading", "DDIM", leading_timesteps, ("ddim", "ddim_uniform"), True),
    Schedule("trailing", "Turbo", trailing_timesteps, ("turbo", "ddim_trailing"), True),
    Schedule("sgm_uniform", "SGM Uniform", sgm_uniform_timesteps, (), True),
    Schedule("simple", "Simple", simple_timesteps, (), True),
    Schedule("lcm", "LCM", lcm_timesteps, (), True),
    Schedule("karras", "Karras", karras),
    Schedule("exponential", "Exponential", exponential),
    Schedule("polyexponential", "Polyexponential", polyexponential),
    Schedule("ays", "Align Your Steps", ays),
    Schedule("beta", "Beta", beta),
    Schedule("kl_optimal", "KL Optimal", kl_optimal),
)
SCHEDULES: dict[str, Schedule] = {row.name: row for row in _TABLE}


def given_timesteps(timesteps: Sequence[int]) -> Schedule:
    """The schedule of just these timesteps, which fall; it has as many steps as they are.

    Example:
        >>> given_timesteps([999, 499])(training_sigmas(), 2).round(2)
        array([14.61,  1.61,  0.  ])
    """
    steps = np.array(timesteps, np.float64)
    return Schedule("timesteps", "Timesteps", lambda T, n: steps, chooses_timesteps=True)


def find_schedule(name: str | Schedule) -> Schedule:
    """The schedule of a name: canonical, A1111's label or an alias, in any case and spacing.

    Example:
        >>> find_schedule("SGM Uniform").name, find_schedule("ddim_uniform").name
        ('sgm_uniform', 'leading')
    """
    return name if isinstance(name, Schedule) else find_row(name, SCHEDULES, "schedule")
