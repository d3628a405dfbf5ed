"""The mathematics of diffusion: noise, schedules, denoisers, samplers, plans. NumPy only."""

from __future__ import annotations

from sfumato.diffusion.denoisers import PREDICTIONS, guide, scalings
from sfumato.diffusion.noise import latent_noise, normal, philox
from sfumato.diffusion.plan import REGISTERS, Plan, as_edm, make_plan, plan, run, sample
from sfumato.diffusion.samplers import (
    DEFAULT_SAMPLER,
    SAMPLERS,
    Sampler,
    find_sampler,
    schedule_of,
    split_label,
    split_options,
)
from sfumato.diffusion.schedules import (
    SCHEDULES,
    Schedule,
    edm_sigmas,
    find_schedule,
    given_timesteps,
    sigma_to_timestep,
    timestep_to_sigma,
    training_sigmas,
)
from sfumato.diffusion.step import Step

__all__ = [
    "DEFAULT_SAMPLER",
    "PREDICTIONS",
    "REGISTERS",
    "SAMPLERS",
    "SCHEDULES",
    "Plan",
    "Sampler",
    "Schedule",
    "Step",
    "as_edm",
    "edm_sigmas",
    "find_sampler",
    "find_schedule",
    "given_timesteps",
    "guide",
    "latent_noise",
    "make_plan",
    "normal",
    "philox",
    "plan",
    "run",
    "sample",
    "scalings",
    "schedule_of",
    "sigma_to_timestep",
    "split_label",
    "split_options",
    "timestep_to_sigma",
    "training_sigmas",
]
