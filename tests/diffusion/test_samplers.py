"""Every sampler against the diffusers scheduler of that name, question by question."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from sfumato.diffusion import Plan, make_plan, plan, run, sample, training_sigmas

# diffusers turns tensors into arrays in a way that NumPy 2 and torch do not like.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TRAINING = training_sigmas()
SHAPE = (2, 4, 5, 3)


def denoise(x: np.ndarray, sigma: float) -> np.ndarray:
    """Something bounded, smooth and not linear, which changes with the noise level."""
    return 0.9 * np.tanh(x / np.hypot(sigma, 1.0)) + 0.2 * np.sin(np.log1p(sigma))


@dataclass(frozen=True)
class Case:
    """A sampler, the plan to make of it, and the scheduler that does the same."""

    sampler: str
    scheduler: str
    schedule: str = "karras"
    steps: int = 20
    config: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    last: float = 0.0  # where the last step ends
    zero_terminal_snr: bool = False

    @property
    def training(self) -> np.ndarray:
        return training_sigmas(zero_terminal_snr=self.zero_terminal_snr)

    @property
    def plan(self) -> Plan:
        made = make_plan(self.training, self.steps, self.sampler, self.schedule, **self.options)
        if not self.last:
            return made
        sigmas = np.append(made.sigmas[:-1], self.last)
        return plan(self.sampler, sigmas, training=self.training, **self.options)

    def build(self) -> Any:
        """The scheduler, its timesteps set."""
        spacing = {"leading": "leading", "trailing": "trailing"}.get(self.schedule)
        config = {**SD, **self.config, "prediction_type": self.prediction}
        if spacing and self.schedule not in ("lcm", "sgm_uniform"):
            config |= {"timestep_spacing": spacing, "steps_offset": 1}
        if self.schedule in ("karras", "exponential", "beta"):
            config[f"use_{self.schedule}_sigmas"] = True
        if self.zero_terminal_snr:
            config["rescale_betas_zero_snr"] = True
        scheduler = getattr(module_of(self.scheduler), self.scheduler)(**config)
        scheduler.set_timesteps(self.steps)
        return scheduler

    @property
    def prediction(self) -> str:
        return "v_prediction" if self.zero_terminal_snr else "epsilon"


MODULES = {
    "EulerDiscreteScheduler": "euler_discrete",
    "EulerAncestralDiscreteScheduler": "euler_ancestral_discrete",
    "HeunDiscreteScheduler": "heun_discrete",
    "KDPM2DiscreteScheduler": "k_dpm_2_discrete",
    "KDPM2AncestralDiscreteScheduler": "k_dpm_2_ancestral_discrete",
    "LMSDiscreteScheduler": "lms_discrete",
    "DPMSolverMultistepScheduler": "dpmsolver_multistep",
    "DPMSolverSinglestepScheduler": "dpmsolver_singlestep",
    "DPMSolverSDEScheduler": "dpmsolver_sde",
    "UniPCMultistepScheduler": "unipc_multistep",
    "DEISMultistepScheduler": "deis_multistep",
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "ddpm",
    "PNDMScheduler": "pndm",
    "LCMScheduler": "lcm",
    "TCDScheduler": "tcd",
}
# Schedulers that keep x as it is; the others keep x / sqrt(1 + sigma**2).
UNSCALED = {name for name in MODULES if "Discrete" in name} | {"DPMSolverSDEScheduler"}

SDE = {"algorithm_type": "sde-dpmsolver++"}
WHOLE = {"clip_sample": False, "set_alpha_to_one": True}
PNDM = {"skip_prk_steps": True, "set_alpha_to_one": True}
CASES = [
    *(Case("euler", "EulerDiscreteScheduler", name)
      for name in ("uniform", "leading", "trailing", "karras", "exponential", "beta")),
    Case("euler", "EulerDiscreteScheduler", "trailing", zero_terminal_snr=True),
    *(Case("euler_a", "EulerAncestralDiscreteScheduler", name)
      for name in ("uniform", "leading", "trailing")),
    Case("euler_a", "EulerAncestralDiscreteScheduler", "trailing", 5, zero_terminal_snr=True),
    *(Case("heun", "HeunDiscreteScheduler", name) for name in ("uniform", "karras", "leading")),
    *(Case("dpm2", "KDPM2DiscreteScheduler", name) for name in ("karras", "exponential")),
    *(Case("dpm2_a", "KDPM2AncestralDiscreteScheduler", name)
      for name in ("karras", "exponential")),
    *(Case("lms", "LMSDiscreteScheduler", name) for name in ("uniform", "karras", "exponential")),
    *(Case("dpmpp_2m", "DPMSolverMultistepScheduler", name, steps)
      for name in ("karras", "exponential", "beta", "sgm_uniform") for steps in (1, 2, 6, 25)),
    Case("dpmpp_2m", "DPMSolverMultistepScheduler", zero_terminal_snr=True),
    *(Case("dpmpp_2m_sde", "DPMSolverMultistepScheduler", name, steps, SDE)
      for name in ("karras", "exponential") for steps in (1, 3, 20)),
    Case("dpmpp_2m_sde_heun", "DPMSolverMultistepScheduler", "exponential", 20,
         SDE | {"solver_type": "heun"}),
    Case("dpmpp_3m", "DPMSolverMultistepScheduler", "karras", 20,
         {"solver_order": 3, "solver_type": "heun"}),
    # Of the stochastic third order diffusers has a wrong sign (of 1/2, in the weight of D2), so
    # that only its steps of lower order can be compared; its third order is in the row above.
    Case("dpmpp_3m_sde", "DPMSolverMultistepScheduler", "karras", 3,
         SDE | {"solver_order": 3, "solver_type": "heun"}),
    *(Case("dpmpp_sde", "DPMSolverSDEScheduler", name) for name in ("karras", "exponential")),
    *(Case("dpmpp_2s", "DPMSolverSinglestepScheduler", name, steps, {"lower_order_final": True})
      for name in ("karras", "exponential", "sgm_uniform") for steps in (6, 7, 20)),
    *(Case("ddim", "DDIMScheduler", name, 20, WHOLE, {"eta": eta})
      for name in ("leading", "trailing") for eta in (0.0, 0.5, 1.0)),
    *(Case("ddpm", "DDPMScheduler", name, steps, {"clip_sample": False})
      for name in ("leading", "trailing") for steps in (4, 20)),
    *(Case("plms", "PNDMScheduler", "leading", steps, PNDM) for steps in (1, 2, 3, 20, 50)),
    *(Case("unipc", "UniPCMultistepScheduler", name, steps, {"solver_order": order},
           {"order": order})
      for name in ("karras", "sgm_uniform") for steps in (4, 20) for order in (1, 2, 3)),
    *(Case("deis", "DEISMultistepScheduler", "sgm_uniform", 20, {"solver_order": order},
           {"order": order}, TRAINING[0]) for order in (1, 2, 3)),
    *(Case("lcm", "LCMScheduler", "lcm", steps) for steps in (1, 4, 8)),
    *(Case("tcd", "TCDScheduler", "lcm", steps, {}, {"eta": eta}, TRAINING[0])
      for steps in (1, 4, 8) for eta in (0.0, 0.3, 1.0)),
]  # fmt: skip


def module_of(scheduler: str) -> ModuleType:
    name = f"diffusers.schedulers.scheduling_{MODULES[scheduler]}"
    if scheduler != "DPMSolverSDEScheduler" or name in sys.modules:
        return importlib.import_module(name)
    # Of torchsde it needs nothing but the Brownian tree, which the tests replace.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torchsde", ModuleType("torchsde"))
        return importlib.import_module(name)


def name_of(case: Case) -> str:
    extra = [f"{key}={value}" for key, value in case.options.items()]
    extra += ["zero_terminal_snr"] if case.zero_terminal_snr else []
    return "-".join([case.sampler, case.schedule, str(case.steps), *extra])


def noises_for(made: Plan) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(len(made.sigma), *SHAPE))


def follow(made: Plan, noises: np.ndarray) -> list[np.ndarray]:
    """Register 0 before every question of the plan and at the end."""
    seen = []

    def watch(x: np.ndarray, sigma: float) -> np.ndarray:
        seen.append(x)
        return denoise(x, sigma)

    needed = iter(noises[made.needs_noise])
    last = run(made, watch, start(made), lambda: next(needed))
    return [*seen, last]


def start(made: Plan) -> np.ndarray:
    return np.random.default_rng(4).normal(size=SHAPE) * made.start_scale


def network(x: np.ndarray, sigma: float, prediction: str) -> torch.Tensor:
    """The output of a network that would be the denoiser above."""
    denoised = denoise(x, sigma)
    eps, scale = (x - denoised) / sigma, np.hypot(sigma, 1.0)
    output = eps if prediction == "epsilon" else (eps - sigma * denoised) / scale
    return torch.from_numpy(output.astype(np.float32))


def diffusers_follows(case: Case, made: Plan, now: list[int]) -> Iterator[np.ndarray]:
    """The scheduler's sample before every question and at the end, x = x0 + sigma * noise.

    `now[0]` is the number of the question, for the noise.
    """
    scheduler = case.build()
    levels = [*made.sigma.tolist(), float(made.sigmas[-1])]
    unscaled = case.scheduler in UNSCALED
    scales = [1.0 if unscaled else float(np.hypot(sigma, 1.0)) for sigma in levels]
    x = torch.from_numpy((start(made) / scales[0]).astype(np.float32))
    extra = {"eta": case.options["eta"]} if "eta" in case.options else {}
    timesteps = scheduler.timesteps
    assert len(timesteps) == len(made.sigma)
    for j, timestep in enumerate(timesteps):
        now[0] = j
        full = x.double().numpy() * scales[j]
        yield full
        if unscaled:
            scheduler.scale_model_input(x, timestep)
        output = network(full, levels[j], case.prediction)
        x = scheduler.step(output, timestep, x, return_dict=False, **extra)[0]
    yield x.double().numpy() * scales[-1]


@pytest.fixture
def given_noise(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Plan, np.ndarray], list[int]]:
    """Make a scheduler draw the given noise: that of the question it is at."""

    def patch(scheduler: str, made: Plan, noises: np.ndarray) -> list[int]:
        now = [0]
        module = module_of(scheduler)

        def randn_tensor(*_: Any, **__: Any) -> torch.Tensor:
            return torch.from_numpy(noises[now[0]].astype(np.float32))

        class Path:
            """The Brownian path whose pieces are the given noises."""

            def __init__(self, *_: Any) -> None:
                pass

            def __call__(self, sigma: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
                j = now[0]
                if made.ends_step[j]:  # the whole step: the first piece and the second
                    middle = made.sigma[j]
                    first = float((sigma - middle) / (sigma - to))
                    noise = first**0.5 * noises[j - 1] + (1.0 - first) ** 0.5 * noises[j]
                else:
                    noise = noises[j]
                return torch.from_numpy(noise.astype(np.float32))

        if hasattr(module, "randn_tensor"):
            monkeypatch.setattr(module, "randn_tensor", randn_tensor)
        if hasattr(module, "BrownianTreeNoiseSampler"):
            monkeypatch.setattr(module, "BrownianTreeNoiseSampler", Path)
        return now

    return patch


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_sampler_is_diffusers(case: Case, given_noise: Callable[..., list[int]]) -> None:
    made = case.plan
    noises = noises_for(made)
    now = given_noise(case.scheduler, made, noises)
    ours = follow(made, noises)
    theirs = list(diffusers_follows(case, made, now))
    assert len(ours) == len(theirs)
    for j, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        assert np.abs(mine - other).max() <= 5e-5 * np.abs(other).max(), f"after {j} questions"


def test_dpmpp_2s_a_without_noise_is_diffusers_singlestep_on_even_levels() -> None:
    """Where the intermediate level is the middle one, both are DPM-Solver++(2S) with r = 1/2."""
    fine = Case("dpmpp_2s", "DPMSolverSinglestepScheduler", "exponential", 21)
    theirs = list(diffusers_follows(fine, fine.plan, [0]))
    seen: list[np.ndarray] = []
    coarse = fine.plan.sigmas[:-1:2]
    sample(
        "dpmpp_2s_a",
        coarse,
        denoise,
        start(fine.plan),
        on_step=lambda _, x: seen.append(x),
        eta=0.0,
    )
    for mine, other in zip(seen, theirs[2:-1:2], strict=True):
        assert np.abs(mine - other).max() <= 1e-4 * np.abs(other).max()


def test_dpmpp_3m_sde_without_noise_is_dpmpp_3m() -> None:
    made = make_plan(TRAINING, 20, "dpmpp_3m_sde", "karras", eta=0.0)
    np.testing.assert_array_equal(made.matrix, make_plan(TRAINING, 20, "dpmpp_3m").matrix)


def test_tcd_ends_with_the_clean_data() -> None:
    made = make_plan(TRAINING, 4, "tcd")
    seen = follow(made, noises_for(made))
    np.testing.assert_allclose(seen[-1], denoise(seen[-2], made.sigma[-1]), atol=1e-12)
