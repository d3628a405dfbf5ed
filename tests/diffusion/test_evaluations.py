"""Which evaluations are guided and which reuse: known answers and properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.diffusion.plan import Plan, make_plan
from sfumato.diffusion.schedules import training_sigmas
from sfumato.diffusion.shortcuts import evaluations


def plan(steps: int, sampler: str = "dpmpp_2m", strength: float = 1.0) -> Plan:
    return make_plan(training_sigmas(), steps, sampler, "karras", strength=strength)


def letters(*arguments: object) -> str:
    """G guided, u unguided; small where the deep features of an earlier one serve."""
    return "".join(
        ("g" if way.shallow else "G") if way.guided else ("u" if way.shallow else "U")
        for way in evaluations(*arguments)
    )


@pytest.mark.parametrize(
    ("expected", "steps", "interval", "reuse"),
    [
        ("GGGG", 4, (0.0, 1.0), 1),
        ("UGGGU", 5, (0.2, 0.8), 1),
        ("GGUU", 4, (0.0, 0.5), 1),
        ("GGUUU", 5, (0.0, 0.3), 1),
        ("GggGggG", 7, (0.0, 1.0), 3),
        ("UuUGgGgGUuU", 11, (0.25, 0.75), 2),
        ("Ggggg", 5, (0.0, 1.0), 100),
        ("UUU", 3, (0.2, 0.3), 1),
    ],
)
def test_known(expected: str, steps: int, interval: tuple[float, float], reuse: int) -> None:
    assert letters(plan(steps), True, interval, reuse) == expected


def test_without_guidance_the_interval_says_nothing() -> None:
    assert letters(plan(6), False, (0.2, 0.8), 3) == "UuuUuu"


def test_both_questions_of_a_step_are_answered_alike() -> None:
    heun = plan(4, "heun")
    assert heun.step.tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert letters(heun, True, (0.0, 0.5), 1) == "GGGGUUU"
    assert letters(heun, True, (0.0, 1.0), 2) == "GgGgGgG"


def test_the_steps_that_are_made_count() -> None:
    assert letters(plan(10, strength=0.4), True, (0.0, 0.5), 1) == "GGUU"


@given(
    steps=st.integers(1, 40),
    bounds=st.lists(st.floats(0, 1), min_size=3, max_size=3, unique=True).map(sorted),
    reuse=st.integers(1, 6),
    sampler=st.sampled_from(["dpmpp_2m", "heun", "dpmpp_sde"]),
)
def test_adjoining_intervals_share_the_steps(
    steps: int, bounds: list[float], reuse: int, sampler: str
) -> None:
    made = plan(steps, sampler)
    low, middle, high = bounds
    first, second, both = (
        [way.guided for way in evaluations(made, True, interval, reuse)]
        for interval in ((low, middle), (middle, high), (low, high))
    )
    assert [a or b for a, b in zip(first, second, strict=True)] == both
    ways = evaluations(made, True, (low, high), reuse)
    for before, way in zip([None, *ways], ways, strict=False):
        if way.shallow:  # what it takes over was computed with the same prompts
            assert before is not None
            assert before.guided == way.guided
