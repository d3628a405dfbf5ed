"""The step that a sampler makes: its noise levels and times."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from sfumato.diffusion.schedules import sigma_to_timestep, timestep_to_sigma

Denoise: TypeAlias = Callable[[Any, float], Any]
Noise: TypeAlias = Callable[[], Any]


@dataclass(frozen=True)
class Step:
    """Step `index` of those from `sigmas[0]` down to `sigmas[-1]`; floats are Python's."""

    index: int
    sigmas: tuple[float, ...]
    training: np.ndarray = field(repr=False, compare=False)

    @property
    def count(self) -> int:
        """Number of steps."""
        return len(self.sigmas) - 1

    @property
    def sigma(self) -> float:
        """The noise level at the start of the step."""
        return self.sigmas[self.index]

    @property
    def next(self) -> float:
        """The noise level at the end of the step."""
        return self.sigmas[self.index + 1]

    @property
    def h(self) -> float:
        """The step in log signal-to-noise, the time of DPM-Solver and its kin; needs next > 0."""
        return math.log(self.sigma / self.next)

    @property
    def h_last(self) -> float:
        """`h` of the step before."""
        return math.log(self.sigmas[self.index - 1] / self.sigma)

    @property
    def h_before(self) -> float:
        """`h` of the step before the last."""
        return math.log(self.sigmas[self.index - 2] / self.sigmas[self.index - 1])

    @property
    def timestep(self) -> float:
        """Training timestep of `sigma`."""
        return float(sigma_to_timestep(self.training, self.sigma))

    @property
    def next_timestep(self) -> float:
        """Training timestep of `next`."""
        return float(sigma_to_timestep(self.training, self.next))

    def sigma_at(self, timestep: float) -> float:
        """The noise level of a training timestep."""
        return float(timestep_to_sigma(self.training, timestep))
