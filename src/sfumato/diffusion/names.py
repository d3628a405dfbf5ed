"""The table of samplers, and finding samplers and schedules by any name they go by."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from sfumato.diffusion import samplers
from sfumato.diffusion.schedules import SCHEDULES, Schedule

DEFAULT_SAMPLER = "dpmpp_2m"
# What an option may be, from and to; orders are whole.
_RANGES = {"eta": (0.0, 1.0), "order": (1, 4)}


@dataclass(frozen=True)
class Sampler:
    """A row of the table of samplers.

    Attributes:
        name: the canonical name.
        label: A1111's label, which also goes into metadata.
        function: the step function (samplers.py).
        schedule: name of the schedule used unless another is asked for.
        aliases: further names, in A1111, k-diffusion, ComfyUI, stable-diffusion.cpp and diffusers.
        fixed: options of `function` that make this row what it is.
        integer_timesteps: the network is asked at whole timesteps even where the schedule gives
            fractions, as the diffusers scheduler of that name does.
        unit_variance: the start noise is scaled to sqrt(1 + sigma**2), as if the data had variance
            1, as the diffusers scheduler of that name does; otherwise to sigma.
    """

    name: str
    label: str
    function: Callable[..., samplers.Result]
    schedule: str = "uniform"
    aliases: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    integer_timesteps: bool = False
    unit_variance: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options that may be given to this sampler."""
        parameters = inspect.signature(self.function).parameters.values()
        keywords = (p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
        return tuple(name for name in keywords if name not in self.fixed)

    def step(self, **options: Any) -> Callable[..., samplers.Result]:
        """The step function with its options bound.

        Raises:
            ValueError: for an option the sampler does not have, or `eta` outside 0 to 1, or an
                `order` that is not one of 1, 2, 3, 4.
        """
        unknown = sorted(set(options) - set(self.options))
        if unknown:
            raise ValueError(
                f"options of sampler {self.name!r} are {list(self.options)}. Received: {unknown}"
            )
        for name, value in options.items():
            low, high = _RANGES.get(name, (-math.inf, math.inf))
            if not low <= value <= high or (name == "order" and not isinstance(value, int)):
                raise ValueError(f"`{name}` must be from {low} to {high}. Received: {name}={value}")
        bound = {**self.fixed, **options}
        return lambda *arguments: self.function(*arguments, **bound)


def _vp(*row: Any, **columns: Any) -> Sampler:
    return Sampler(*row, integer_timesteps=True, unit_variance=True, **columns)


_ROWS = (
    Sampler("euler", "Euler", samplers.euler, aliases=("k_euler", "EulerDiscreteScheduler")),
    Sampler(
        "euler_a",
        "Euler a",
        samplers.euler_a,
        aliases=(
            "k_euler_a",
            "k_euler_ancestral",
            "euler_ancestral",
            "EulerAncestralDiscreteScheduler",
        ),
    ),
    Sampler("heun", "Heun", samplers.heun, aliases=("k_heun", "HeunDiscreteScheduler")),
    Sampler(
        "dpm2",
        "DPM2",
        samplers.dpm2,
        "karras",
        ("k_dpm_2", "dpm_2", "KDPM2DiscreteScheduler"),
        MappingProxyType({"eta": 0.0}),
        integer_timesteps=True,
    ),
    Sampler(
        "dpm2_a",
        "DPM2 a",
        samplers.dpm2_a,
        "karras",
        ("k_dpm_2_a", "k_dpm_2_ancestral", "dpm_2_ancestral", "KDPM2AncestralDiscreteScheduler"),
        integer_timesteps=True,
    ),
    Sampler("lms", "LMS", samplers.lms, aliases=("k_lms", "LMSDiscreteScheduler")),
    _vp(
        "dpmpp_2m",
        "DPM++ 2M",
        samplers.dpmpp_2m,
        "karras",
        ("k_dpmpp_2m", "dpm++2m", "DPMSolverMultistepScheduler"),
    ),
    _vp(
        "dpmpp_2m_sde",
        "DPM++ 2M SDE",
        samplers.dpmpp_2m_sde,
        "exponential",
        ("k_dpmpp_2m_sde", "dpmpp_2m_sde_gpu"),
        MappingProxyType({"solver": "midpoint"}),
    ),
    _vp(
        "dpmpp_2m_sde_heun",
        "DPM++ 2M SDE Heun",
        samplers.dpmpp_2m_sde,
        "exponential",
        ("k_dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu"),
        MappingProxyType({"solver": "heun"}),
    ),
    _vp(
        "dpmpp_3m", "DPM++ 3M", samplers.dpmpp_3m_sde, "karras", (), MappingProxyType({"eta": 0.0})
    ),
    _vp(
        "dpmpp_3m_sde",
        "DPM++ 3M SDE",
        samplers.dpmpp_3m_sde,
        "exponential",
        ("k_dpmpp_3m_sde", "dpmpp_3m_sde_gpu"),
    ),
    Sampler(
        "dpmpp_sde",
        "DPM++ SDE",
        samplers.dpmpp_sde,
        "karras",
        ("k_dpmpp_sde", "dpmpp_sde_gpu", "DPMSolverSDEScheduler"),
    ),
    Sampler(
        "dpmpp_2s_a",
        "DPM++ 2S a",
        samplers.dpmpp_2s_a,
        "karras",
        ("k_dpmpp_2s_a", "k_dpmpp_2s_ancestral", "dpmpp_2s_ancestral", "dpm++2s_a"),
    ),
    _vp("dpmpp_2s", "DPM++ 2S", samplers.dpmpp_2s, "karras", ("DPMSolverSinglestepScheduler",)),
    _vp("ddim", "DDIM", samplers.ddim, "leading", ("DDIMScheduler",)),
    _vp("ddpm", "DDPM", samplers.ddpm, "leading", ("DDPMScheduler",)),
    _vp("plms", "PLMS", samplers.plms, "leading", ("pndm", "PNDMScheduler")),
    Sampler("ipndm", "IPNDM", samplers.ipndm, aliases=()),
    _vp("unipc", "UniPC", samplers.unipc, "karras", ("uni_pc_bh2", "UniPCMultistepScheduler")),
    _vp("deis", "DEIS", samplers.deis, "karras", ("DEISMultistepScheduler",)),
    _vp("lcm", "LCM", samplers.lcm, "lcm", ("LCMScheduler",)),
    _vp("tcd", "TCD", samplers.tcd, "lcm", ("TCDScheduler",)),
)
SAMPLERS: dict[str, Sampler] = {row.name: row for row in _ROWS}

Row = TypeVar("Row", Sampler, Schedule)


def find_sampler(name: str | Sampler) -> Sampler:
    """The sampler of a name: canonical, A1111's label or an alias, in any case and spacing.

    Example:
        >>> find_sampler("DPM++ 2M").name, find_sampler("k_euler_a").name
        ('dpmpp_2m', 'euler_a')
    """
    return name if isinstance(name, Sampler) else _find(name, SAMPLERS, "sampler")


def find_schedule(name: str | Schedule) -> Schedule:
    """The schedule of a name, found as `find_sampler` finds samplers."""
    return name if isinstance(name, Schedule) else _find(name, SCHEDULES, "schedule")


def _find(name: str, table: dict[str, Row], kind: str) -> Row:
    for row in table.values():
        if _plain(name) in {_plain(known) for known in (row.name, row.label, *row.aliases)}:
            return row
    raise ValueError(f"`{kind}` must be one of {', '.join(table)}. Received: {kind}={name!r}")


def _plain(name: str) -> str:
    plain = name.casefold().replace("++", "pp")
    return "".join(letter for letter in plain if letter not in " _-")
