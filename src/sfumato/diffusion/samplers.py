"""The table of samplers, found by any of their names.

A sampler is a step function (methods.py) with the settings that make it what other programs call by
that name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sfumato.diffusion import methods
from sfumato.diffusion._lookup import check_options, find_row, option_names
from sfumato.diffusion.schedules import Schedule, find_schedule

DEFAULT_SAMPLER = "dpmpp_2m"


@dataclass(frozen=True)
class Sampler:
    """A row of the table of samplers.

    Attributes:
        name: the canonical name.
        label: A1111's label, which is written into recipes.
        function: the step function (methods.py).
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
    function: Callable[..., methods.Result]
    schedule: str = "uniform"
    aliases: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    integer_timesteps: bool = False
    unit_variance: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options that may be given to this sampler, such as `eta`."""
        return option_names(self.function, self.fixed)

    def step(self, **options: Any) -> Callable[..., methods.Result]:
        """The step function with its options bound.

        Raises:
            ValueError: for an option the sampler does not have, or one out of its range: `eta` is
                from 0 to 1, `order` one of 1, 2, 3, 4.
        """
        given = check_options(f"sampler {self.name!r}", self.options, options)
        bound = {**self.fixed, **given}
        return lambda *arguments: self.function(*arguments, **bound)


def _vp(*row: Any, **columns: Any) -> Sampler:
    return Sampler(*row, integer_timesteps=True, unit_variance=True, **columns)


_TABLE = (
    Sampler("euler", "Euler", methods.euler, aliases=("k_euler", "EulerDiscreteScheduler")),
    Sampler(
        "euler_a",
        "Euler a",
        methods.euler_a,
        aliases=(
            "k_euler_a",
            "k_euler_ancestral",
            "euler_ancestral",
            "EulerAncestralDiscreteScheduler",
        ),
    ),
    Sampler("heun", "Heun", methods.heun, aliases=("k_heun", "HeunDiscreteScheduler")),
    Sampler(
        "dpm2",
        "DPM2",
        methods.dpm2,
        "karras",
        ("k_dpm_2", "dpm_2", "KDPM2DiscreteScheduler"),
        MappingProxyType({"eta": 0.0}),
        integer_timesteps=True,
    ),
    Sampler(
        "dpm2_a",
        "DPM2 a",
        methods.dpm2_a,
        "karras",
        ("k_dpm_2_a", "k_dpm_2_ancestral", "dpm_2_ancestral", "KDPM2AncestralDiscreteScheduler"),
        integer_timesteps=True,
    ),
    Sampler("lms", "LMS", methods.lms, aliases=("k_lms", "LMSDiscreteScheduler")),
    _vp(
        "dpmpp_2m",
        "DPM++ 2M",
        methods.dpmpp_2m,
        "karras",
        ("k_dpmpp_2m", "dpm++2m", "DPMSolverMultistepScheduler"),
    ),
    _vp(
        "dpmpp_2m_sde",
        "DPM++ 2M SDE",
        methods.dpmpp_2m_sde,
        "exponential",
        ("k_dpmpp_2m_sde", "dpmpp_2m_sde_gpu"),
        MappingProxyType({"solver": "midpoint"}),
    ),
    _vp(
        "dpmpp_2m_sde_heun",
        "DPM++ 2M SDE Heun",
        methods.dpmpp_2m_sde,
        "exponential",
        ("k_dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu"),
        MappingProxyType({"solver": "heun"}),
    ),
    _vp("dpmpp_3m", "DPM++ 3M", methods.dpmpp_3m_sde, "karras", (), MappingProxyType({"eta": 0.0})),
    _vp(
        "dpmpp_3m_sde",
        "DPM++ 3M SDE",
        methods.dpmpp_3m_sde,
        "exponential",
        ("k_dpmpp_3m_sde", "dpmpp_3m_sde_gpu"),
    ),
    Sampler(
        "dpmpp_sde",
        "DPM++ SDE",
        methods.dpmpp_sde,
        "karras",
        ("k_dpmpp_sde", "dpmpp_sde_gpu", "DPMSolverSDEScheduler"),
    ),
    Sampler(
        "dpmpp_2s_a",
        "DPM++ 2S a",
        methods.dpmpp_2s_a,
        "karras",
        ("k_dpmpp_2s_a", "k_dpmpp_2s_ancestral", "dpmpp_2s_ancestral", "dpm++2s_a"),
    ),
    _vp("dpmpp_2s", "DPM++ 2S", methods.dpmpp_2s, "karras", ("DPMSolverSinglestepScheduler",)),
    _vp("ddim", "DDIM", methods.ddim, "leading", ("DDIMScheduler",)),
    _vp("ddpm", "DDPM", methods.ddpm, "leading", ("DDPMScheduler",)),
    _vp("plms", "PLMS", methods.plms, "leading", ("pndm", "PNDMScheduler")),
    Sampler("ipndm", "IPNDM", methods.ipndm, aliases=()),
    _vp("unipc", "UniPC", methods.unipc, "karras", ("uni_pc_bh2", "UniPCMultistepScheduler")),
    _vp("deis", "DEIS", methods.deis, "karras", ("DEISMultistepScheduler",)),
    _vp("lcm", "LCM", methods.lcm, "lcm", ("LCMScheduler",)),
    _vp("tcd", "TCD", methods.tcd, "lcm", ("TCDScheduler",)),
)
SAMPLERS: dict[str, Sampler] = {row.name: row for row in _TABLE}


def find_sampler(name: str | Sampler) -> Sampler:
    """The sampler of a name: canonical, A1111's label or an alias, in any case and spacing.

    Example:
        >>> find_sampler("DPM++ 2M").name, find_sampler("k_euler_a").name
        ('dpmpp_2m', 'euler_a')
    """
    return name if isinstance(name, Sampler) else find_row(name, SAMPLERS, "sampler")


def split_label(label: str) -> tuple[str, str | None]:
    """The names of a sampler and of the schedule behind it, as many programs write both in one.

    Args:
        label: any name of a sampler, or that and any name of a schedule, with spaces, "_" or other
            signs between their words.

    Returns:
        Canonical names; None where the label names no schedule.

    Raises:
        ValueError: it is neither.

    Example:
        >>> split_label("DPM++ 2M Karras"), split_label("Euler a"), split_label("euler_simple")
        (('dpmpp_2m', 'karras'), ('euler_a', None), ('euler', 'simple'))
    """
    try:
        return find_sampler(label).name, None
    except ValueError:
        words = re.findall(r"[^\s_/|,()-]+", label)
        for n in range(1, min(4, len(words))):  # such as "Align Your Steps"
            with suppress(ValueError):
                sampler, schedule = (" ".join(part) for part in (words[:-n], words[-n:]))
                return find_sampler(sampler).name, find_schedule(schedule).name
        raise


def split_options(
    sampler: str | Sampler, schedule: str | Schedule | None, options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of a sampler and those of its schedule, from both in one.

    Args:
        sampler: any name of a sampler.
        schedule: any name of a schedule; None or "automatic" is the sampler's own.
        options: by name, such as `{"eta": 0.5, "rho": 5.0}`. No option is both's.

    Raises:
        ValueError: neither has an option of that name, or its value is out of range.

    Example:
        >>> split_options("euler_a", "karras", {"rho": 5.0, "eta": 0.5})
        ({'eta': 0.5}, {'rho': 5.0})
    """
    row = find_sampler(sampler)
    levels = schedule_of(row, schedule)
    allowed = [*row.options, *levels.options]
    unknown = sorted(options.keys() - set(allowed))
    if unknown:
        raise ValueError(
            f"`sampler_options` must be among {allowed} for sampler {row.name!r} with schedule "
            f"{levels.name!r}. Received: {unknown}"
        )
    options = check_options(f"sampler {row.name!r}", allowed, options)
    ours = {name: value for name, value in options.items() if name in row.options}
    theirs = {name: value for name, value in options.items() if name in levels.options}
    return ours, theirs


def schedule_of(sampler: Sampler, name: str | Schedule | None) -> Schedule:
    """The schedule of a name; the sampler's own for None and "automatic", A1111's word for it."""
    if name is None or (isinstance(name, str) and name.casefold() == "automatic"):
        name = sampler.schedule
    return find_schedule(name)
