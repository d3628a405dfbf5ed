"""The mathematics of diffusion: noise, schedules, denoisers, samplers, plans. NumPy only."""

from __future__ import annotations

from sfumato.diffusion.denoisers import PREDICTIONS, guide, scalings
from sfumato.diffusion.names import (
    DEFAULT_SAMPLER,
    SAMPLERS,
    Sampler,
    find_sampler,
    find_schedule,
)
from sfumato.diffusion.noise import latent_noise, normal, philox
from sfumato.diffusion.plan import REGISTERS, Plan, make_plan, plan, run, sample
from sfumato.diffusion.schedules import (
    SCHEDULES,
    Schedule,
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
    "find_sampler",
    "find_schedule",
    "guide",
    "latent_noise",
    "make_plan",
    "normal",
    "philox",
    "plan",
    "run",
    "sample",
    "scalings",
    "sigma_to_timestep",
    "timestep_to_sigma",
    "training_sigmas",
]
