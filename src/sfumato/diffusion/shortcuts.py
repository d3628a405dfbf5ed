"""Evaluations of a plan that do less: without guidance, or with features of an earlier one."""

from __future__ import annotations

from typing import NamedTuple

from sfumato.diffusion.plan import Plan


class Evaluation(NamedTuple):
    """One run of the network."""

    guided: bool
    """For the negative prompt too."""
    shallow: bool
    """With the deep features of an earlier evaluation."""


def evaluations(
    plan: Plan, guided: bool, interval: tuple[float, float] = (0.0, 1.0), reuse: int = 1
) -> list[Evaluation]:
    """Say of each evaluation of a plan whether it is guided and whether it is shallow.

    Args:
        plan: of a picture.
        guided: whether there is guidance at all.
        interval: the part of the steps that is guided (Kynkäänniemi et al. 2024, arXiv 2404.07724):
            those whose middle is in it. All evaluations of a step are alike.
        reuse: the deep features are computed at every ``reuse``-th evaluation, and again where
            guidance begins or ends (Ma et al. 2023, arXiv 2312.00858, uniform 1:N).
    """
    low, high = interval
    middle = (plan.step + 0.5) / plan.steps
    guides = guided & (low <= middle) & (middle <= high)

    found: list[Evaluation] = []
    age = 0
    for guide in guides.tolist():
        fresh = not found or guide != found[-1].guided
        age = 0 if fresh else (age + 1) % reuse
        found.append(Evaluation(guide, age > 0))
    return found
