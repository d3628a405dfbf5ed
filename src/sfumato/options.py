"""What the methods that make pictures take and tell, and how their arguments are checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import keras
import numpy as np
from keras import ops

from sfumato.diffusion.plan import Plan


class NotFiniteError(ArithmeticError):
    """A number overflowed while denoising or decoding."""


@dataclass(frozen=True)
class StepEvent:
    """What ``on_step`` is told when a step has finished."""

    step: int
    """1 for the first."""
    steps: int
    denoised: Any
    """The picture as the network sees it now: latents (B, h, w, C), an array of the backend (of
    NumPy with OpenVINO)."""

    def latents(self) -> np.ndarray:
        """``denoised`` in NumPy, float32."""
        return ops.convert_to_numpy(self.denoised)


class Options(TypedDict, total=False):
    """What every method that makes pictures also takes."""

    sampler: str | None
    """Name in ``diffusion.samplers.SAMPLERS`` or an alias; default: the preset's."""
    schedule: str | None
    """Name in ``diffusion.schedules.SCHEDULES`` or an alias; default: the preset's for its own
    sampler, "trailing" for models trained down to no signal, else the sampler's own."""
    guidance_rescale: float
    """0..1, against overexposure by strong guidance (arXiv 2305.08891); default 0."""
    guidance_interval: tuple[float, float]
    """The part of the steps that is guided, default (0, 1); outside of it a step is half the work
    (arXiv 2404.07724)."""
    feature_reuse: int
    """k: the deep part of the network runs at every k-th evaluation, default 1: at every one
    (arXiv 2312.00858)."""
    token_merging: float
    """0..0.75, the part of the tokens merged where self-attention has the most; default 0
    (arXiv 2303.17604)."""
    on_step: Callable[[StepEvent], None] | None
    """Called after every step; raise in it to cancel."""
    verbose: bool
    """Show the Keras progress bar; default True."""


SHORTCUTS = ("guidance_interval", "feature_reuse", "token_merging")
"""The options that make a picture with less work, and a slightly different one."""


class Report:
    """Waits for a step that was sent, checks it, shows it, tells it."""

    def __init__(self, plan: Plan, options: Options) -> None:
        self.step = plan.step + 1
        self.ends_step = plan.ends_step
        self.steps = plan.steps
        self.on_step = options.get("on_step")
        self.bar = keras.utils.Progbar(self.steps) if options.get("verbose", True) else None

    def __call__(self, evaluation: int, denoised: Any, finite: Any) -> None:
        step = int(self.step[evaluation])
        if not ops.convert_to_numpy(finite):
            raise NotFiniteError(
                f"The latents of step {step} of {self.steps} are not finite. "
                "Use dtype='mixed_bfloat16' or dtype='float32' instead of float16."
            )
        if not self.ends_step[evaluation]:
            return
        if self.bar:
            self.bar.update(step)
        if self.on_step:
            self.on_step(StepEvent(step, self.steps, denoised))


def check(batch_size: int, options: Options) -> None:
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: batch_size={batch_size}")
    if unknown := sorted(options.keys() - Options.__annotations__.keys()):
        raise TypeError(
            f"The options must be among {', '.join(Options.__annotations__)}. "
            f"Received: {', '.join(unknown)}"
        )
    given: dict[str, Any] = {**options}
    rescale = given.get("guidance_rescale", 0.0)
    if not 0 <= rescale <= 1:
        raise ValueError(f"`guidance_rescale` must be in [0, 1]. Received: {rescale}")
    check_shortcuts(**{name: given[name] for name in SHORTCUTS if name in given})


def check_shortcuts(
    guidance_interval: tuple[float, float] = (0.0, 1.0),
    feature_reuse: int = 1,
    token_merging: float = 0.0,
) -> None:
    bounds = guidance_interval if isinstance(guidance_interval, (tuple, list)) else ()
    if len(bounds) != 2 or not 0 <= bounds[0] < bounds[1] <= 1:
        raise ValueError(
            "`guidance_interval` must be two numbers, 0 <= first < second <= 1. "
            f"Received: guidance_interval={guidance_interval}"
        )
    if not isinstance(feature_reuse, int) or feature_reuse < 1:
        raise ValueError(
            "`feature_reuse` must be a whole number from 1. "
            f"Received: feature_reuse={feature_reuse}"
        )
    if not 0 <= token_merging <= 0.75:
        raise ValueError(
            f"`token_merging` must be in [0, 0.75]. Received: token_merging={token_merging}"
        )


def check_size(height: int, width: int, grain: int) -> None:
    for name, size in (("img_height", height), ("img_width", width)):
        if not isinstance(size, int) or size < grain or size % grain:
            raise ValueError(f"`{name}` must be a multiple of {grain}. Received: {name}={size}")


def listed(prompt: str | Sequence[str], name: str = "prompt") -> list[str]:
    """One prompt or several as a list."""
    prompts: Any = list(prompt) if isinstance(prompt, (list, tuple)) else [prompt]
    if not prompts or not all(isinstance(p, str) for p in prompts):
        raise ValueError(f"`{name}` must be a string or strings. Received: {name}={prompt!r}")
    return prompts


def rows(array: Any, rank: int, batch_size: int, name: str) -> np.ndarray:
    """``array`` of one picture (``rank`` axes) or of each, as (batch_size, ...)."""
    array = np.asarray(array)
    if array.ndim == rank:
        array = array[None]
    if array.ndim != rank + 1 or len(array) not in (1, batch_size):
        raise ValueError(
            f"`{name}` must have {rank} axes, or {rank + 1} of which the first is 1 or the number "
            f"of pictures, {batch_size}. Received: {name} of shape {array.shape}"
        )
    return np.repeat(array, batch_size, axis=0) if len(array) < batch_size else array
