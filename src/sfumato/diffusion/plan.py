"""A sampler's whole run as a table of small matrices: one executable serves every sampler.

Samplers are linear in everything they touch. So `plan` runs their step functions once, on symbols
instead of arrays, and writes down for every evaluation j of the network

    registers[j + 1] = matrix[j] @ [*registers[j], denoised[j], noise[j]]

with REGISTERS = 6 registers of x's shape, at first `[x, 0, 0, 0, 0, 0]`. Register 0 is the next
input of the network, and in the end the result. So compiled code does the same for all samplers,
options and numbers of steps: only the matrices change. They are float64; their entries are small
enough to be applied in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sfumato._numbers import whole_number
from sfumato.diffusion._trace import REGISTERS, matrices_of, trace_step
from sfumato.diffusion.denoisers import scalings
from sfumato.diffusion.samplers import DEFAULT_SAMPLER, Sampler, find_sampler, schedule_of
from sfumato.diffusion.schedules import Schedule, sigma_to_timestep, training_sigmas
from sfumato.diffusion.step import Denoise, Noise, Step

TABLE_LENGTH = 1024  # evaluations that a table has room for, at least


@dataclass(frozen=True, eq=False)
class Plan:
    """A sampler's run, evaluation by evaluation of the network; E is the number of them.

    Attributes:
        sigma: float64 (E,), the noise level of each evaluation.
        timestep: float64 (E,), the network's timestep of each evaluation.
        matrix: float64 (E, REGISTERS, REGISTERS + 2), see the module's text.
        needs_noise: bool (E,), whether the column of the noise matters.
        draw: int64 (E,), the number of that noise, 1 for the first (0 is the start noise), 0 where
            none is needed.
        step: int64 (E,), the step that each evaluation belongs to.
        sigmas: float64 (steps + 1,), the noise levels of the steps.
        start_scale: what unit noise is multiplied by to begin from noise alone.
        sigma_data: standard deviation of the data, see `scalings`.
    """

    sigma: np.ndarray
    timestep: np.ndarray
    matrix: np.ndarray
    needs_noise: np.ndarray
    draw: np.ndarray
    step: np.ndarray
    sigmas: np.ndarray
    start_scale: float
    sigma_data: float = 1.0

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.sigmas) - 1

    @property
    def ends_step(self) -> np.ndarray:
        """bool (E,): whether register 0 is the result of a step after this evaluation."""
        return np.append(self.step[1:] != self.step[:-1], True)

    def until(self, steps: int) -> Plan:
        """The first steps of the plan alone, which end where it goes on."""
        columns = ("sigma", "timestep", "matrix", "needs_noise", "draw", "step")
        kept: Any = {name: getattr(self, name)[self.step < steps] for name in columns}
        return replace(self, **kept, sigmas=self.sigmas[: steps + 1])

    def table(self, prediction: str) -> np.ndarray:
        """All that compiled code reads, float32 (L, 4 + K (K + 2)); K is REGISTERS.

        Row j has c_skip, c_out and c_in of `scalings`, the timestep and the matrix of evaluation j.
        L is the next multiple of TABLE_LENGTH from E, and rows from E are zero: the table of nearly
        every run has the same shape, so that one executable serves them all.
        """
        E = len(self.sigma)
        factors = scalings(prediction, self.sigma, self.sigma_data)
        scales = np.stack([*factors, self.timestep], axis=1)
        table = np.concatenate([scales, self.matrix.reshape(E, -1)], axis=1)
        return np.pad(table, ((0, -E % TABLE_LENGTH), (0, 0))).astype("float32")


def make_plan(
    training: np.ndarray,
    steps: int,
    sampler: str | Sampler = DEFAULT_SAMPLER,
    schedule: str | Schedule | None = None,
    *,
    strength: float = 1.0,
    schedule_options: dict[str, Any] | None = None,
    discard_penultimate: bool = False,
    **options: Any,
) -> Plan:
    """The plan of a picture.

    Args:
        training: noise levels of the model's training, see `training_sigmas`.
        steps: number of steps of the whole schedule, at least 1.
        sampler: any name of a sampler.
        schedule: any name of a schedule; None or "automatic" is the sampler's own.
        strength: in (0, 1]; below 1 only the last int(steps * strength) steps are made (image to
            image).
        schedule_options: options of the schedule, such as `{"rho": 5.0}`.
        discard_penultimate: compute one step more and leave out the last but one level, as A1111
            does for DPM2, DPM2 a and DPM++ 3M SDE.
        options: options of the sampler, such as `eta`.

    Example:
        >>> made = make_plan(training_sigmas(), 25)
        >>> made.steps, made.matrix.shape
        (25, (25, 6, 8))
    """
    row = find_sampler(sampler)
    levels = schedule_of(row, schedule)
    steps = whole_number("steps", steps, 1)
    if not 0.0 < strength <= 1.0:
        raise ValueError(f"`strength` must be in (0, 1]. Received: strength={strength}")
    start = steps - int(steps * strength)
    if start == steps:
        raise ValueError(
            "`steps` times `strength` must be at least 1. "
            f"Received: steps={steps}, strength={strength}"
        )

    sigmas, timesteps = levels.levels(
        training,
        steps + discard_penultimate,
        row.integer_timesteps,
        **(schedule_options or {}),
    )
    if discard_penultimate:
        sigmas, timesteps = np.delete(sigmas, -2), timesteps[:-1]
    unit = row.unit_variance or levels.name == "leading"
    return plan(row, sigmas[start:], timesteps[start:], training, unit_variance=unit, **options)


def as_edm(plan: Plan, sigma_data: float) -> Plan:
    """The plan for a network of EDM, which sees ln(sigma) / 4: Karras et al. 2022, table 1."""
    return replace(plan, timestep=np.log(plan.sigma) / 4, sigma_data=sigma_data)


def plan(
    sampler: str | Sampler,
    sigmas: np.ndarray,
    timesteps: np.ndarray | None = None,
    training: np.ndarray | None = None,
    *,
    unit_variance: bool | None = None,
    **options: Any,
) -> Plan:
    """The plan of a sampler on given noise levels.

    Args:
        sampler: any name of a sampler, or a row.
        sigmas: (n + 1,), strictly falling to a last level >= 0.
        timesteps: (n,), the network's timesteps at sigmas[:-1]; None: interpolated, rounded if the
            sampler wants whole ones. Between them (methods that ask twice) timesteps are always
            interpolated.
        training: noise levels of the model's training; None: Stable Diffusion's.
        unit_variance: see `Sampler`; None: the sampler's.
        options: options of the sampler, such as `eta`.

    Raises:
        ValueError: for an unknown name or option, levels that do not fall, or a sampler that does
            not fit: it needs more than 6 registers, asks about something else first or draws noise
            twice.
        TypeError: the sampler is not linear.
    """
    row = find_sampler(sampler)
    training = training_sigmas() if training is None else training
    sigmas = _checked(sigmas)

    if timesteps is None:
        timesteps = sigma_to_timestep(training, sigmas[:-1])
        timesteps = np.round(timesteps) if row.integer_timesteps else timesteps

    # The steps, run on symbols
    function, passed = row.step(**options), 0
    evaluations: list[tuple[float, int, bool]] = []
    matrices: list[np.ndarray] = []
    for step in _steps(sigmas, training):
        trace = trace_step(row.name, function, step, passed)
        passed = trace.passed
        evaluations += [(s, step.index, d) for s, d in zip(trace.sigmas, trace.drawn, strict=True)]
        matrices += matrices_of(row.name, trace)

    # One array of each column
    sigma, steps, needs_noise = map(np.array, zip(*evaluations, strict=True))
    unit = row.unit_variance if unit_variance is None else unit_variance
    return Plan(
        sigma=sigma,
        timestep=_timesteps(sigma, sigmas, timesteps, training),
        matrix=np.stack(matrices),
        needs_noise=needs_noise,
        draw=np.cumsum(needs_noise) * needs_noise,
        step=steps,
        sigmas=sigmas,
        start_scale=float(np.hypot(sigmas[0], 1.0) if unit else sigmas[0]),
    )


def _timesteps(
    sigma: np.ndarray, sigmas: np.ndarray, timesteps: np.ndarray, training: np.ndarray
) -> np.ndarray:
    """The timestep of each evaluation (E,): as given at the steps' levels, else interpolated."""
    given = dict(zip(sigmas.tolist(), np.asarray(timesteps, np.float64).tolist(), strict=False))
    between = sigma_to_timestep(training, sigma)
    return np.array([given.get(s, t) for s, t in zip(sigma.tolist(), between, strict=True)])


def run(
    plan: Plan,
    denoise: Denoise,
    x: Any,
    noise: Noise | None = None,
    on_step: Callable[[int, Any], None] | None = None,
) -> Any:
    """Follow a plan in NumPy: the reference for compiled code.

    Args:
        plan: from `plan` or `make_plan`.
        denoise: `denoise(x, sigma)`, the clean data.
        x: array of any shape and float dtype, at noise level `plan.sigmas[0]`.
        noise: draws a standard normal of x's shape; only for plans that need noise.
        on_step: called with the step's index and x after every step.
    """
    if noise is None and plan.needs_noise.any():
        raise ValueError("`noise` must be given for this plan. Received: noise=None")

    registers = [x, *(np.zeros_like(x) for _ in range(REGISTERS - 1))]
    for j, matrix in enumerate(plan.matrix):
        answer = denoise(registers[0], float(plan.sigma[j]))
        drawn = noise() if plan.needs_noise[j] and noise else np.zeros_like(x)
        terms = np.stack([*registers, answer, drawn])
        registers = list(np.einsum("kt,t...->k...", matrix.astype(x.dtype), terms))
        if on_step and plan.ends_step[j]:
            on_step(int(plan.step[j]), registers[0])
    return registers[0]


def sample(
    sampler: str | Sampler,
    sigmas: np.ndarray,
    denoise: Denoise,
    x: Any,
    noise: Noise | None = None,
    training: np.ndarray | None = None,
    on_step: Callable[[int, Any], None] | None = None,
    **options: Any,
) -> Any:
    """Run a sampler's step function directly, without a plan; arguments as in `plan` and `run`."""

    def no_noise() -> Any:
        raise ValueError(f"`noise` must be given for {row.name!r}. Received: noise=None")

    row = find_sampler(sampler)
    function, old = row.step(**options), ()
    for step in _steps(_checked(sigmas), training_sigmas() if training is None else training):
        x, old = function(x, step, denoise, noise or no_noise, old)
        if on_step:
            on_step(step.index, x)
    return x


def _checked(sigmas: np.ndarray) -> np.ndarray:
    sigmas = np.asarray(sigmas, np.float64)
    fall = sigmas.ndim == 1 and len(sigmas) > 1 and np.isfinite(sigmas).all()
    if not fall or np.any(np.diff(sigmas) >= 0) or sigmas[-1] < 0:
        raise ValueError(
            "`sigmas` must be at least two levels that fall strictly and end at 0 or above. "
            f"Received: sigmas={sigmas.tolist()}"
        )
    return sigmas


def _steps(sigmas: np.ndarray, training: np.ndarray) -> list[Step]:
    levels = tuple(sigmas.tolist())
    return [Step(index, levels, training) for index in range(len(levels) - 1)]
