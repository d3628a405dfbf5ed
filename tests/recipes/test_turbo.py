"""The distillation's objective, by networks whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import ops

from recipes.mini import turbo
from recipes.mini.denoiser import alphas_cumprod
from recipes.mini.steps import Random

SHAPE = (turbo.LEVELS, 2, 2, 3)
GUIDANCE = 2.0
STEPS = (np.arange(turbo.LEVELS) + 1) * (1000 // turbo.LEVELS) - 1


def velocity(network: float, x: Any, timesteps: Any, context: Any) -> Any:
    """Of a network that sees the same picture, ``network`` times its context all over, in whatever
    it is shown: v = (alpha x - picture) / sigma, so that alpha x - sigma v is the picture."""
    abar = alphas_cumprod()[ops.convert_to_numpy(timesteps)][:, None, None, None]
    alpha, sigma = (ops.convert_to_tensor(np.sqrt(p).astype("float32")) for p in (abar, 1 - abar))
    return (alpha * x - network * context) / sigma


@pytest.fixture
def loss(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(turbo, "velocity", velocity)
    given: Any = lambda tokens: ops.cast(tokens, "float32")[:, :, None, None]  # noqa: E731

    def loss(student: Any, teacher: Any, level: int, empty: int) -> float:
        random = np.random.default_rng(0)
        latents, noise = (random.standard_normal(SHAPE).astype("float32") for _ in range(2))
        compare = turbo.objective(student, teacher, given, GUIDANCE)
        levels = np.full(len(latents), level, "int32")
        tokens = np.ones((len(levels), 1), "int32")
        batch = map(ops.convert_to_tensor, (latents, noise, levels, tokens, empty * tokens))
        found, _ = compare(*batch)
        return float(ops.convert_to_numpy(found))

    return loss


@pytest.mark.parametrize("level", range(turbo.LEVELS))
def test_one_step_of_the_student_goes_where_the_teachers_steps_go(loss: Any, level: int):
    """All steps towards one picture end on one line, so nothing is left to learn."""
    assert loss(0.5, 0.5, level, empty=1) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("level", range(turbo.LEVELS))
def test_another_picture_costs_its_distance_in_v(loss: Any, level: int):
    sigma = np.sqrt(1 - alphas_cumprod()[STEPS[level]])
    wanted = np.square(0.3 / sigma)
    assert loss(0.2, 0.5, level, empty=1) == pytest.approx(wanted, rel=1e-2)


@pytest.mark.parametrize("level", range(turbo.LEVELS))
def test_the_student_learns_the_guided_picture(loss: Any, level: int):
    """The unguided picture is 0 and the prompt's 0.25, so the guided one is 0.5."""
    assert loss(GUIDANCE * 0.25, 0.25, level, empty=0) == pytest.approx(0, abs=1e-4)


def test_the_preset_takes_the_steps_that_were_learnt():
    from sfumato.diffusion import make_plan, training_sigmas
    from sfumato.presets import PRESETS

    preset = PRESETS["mini-turbo"]
    training = training_sigmas(zero_terminal_snr=True)
    plan = make_plan(training, preset.steps, preset.sampler, preset.schedule)
    np.testing.assert_allclose(plan.timestep, STEPS[::-1], atol=1e-3)
    assert preset.guidance == 1


def test_samples_reach_every_level():
    draw = turbo.drawer(np.zeros(4, "int32"))
    latents, tokens = np.zeros((200, 2, 2, 3), "float16"), np.ones((200, 4), "int32")
    drawn = draw(Random(0), *map(ops.convert_to_tensor, (latents, tokens)))
    found, noise, levels, given, empty = map(np.asarray, drawn)
    assert set(levels.tolist()) == set(range(turbo.LEVELS))
    assert (given == 1).all()
    assert (empty == 0).all()
    assert noise.shape == found.shape
    assert found.dtype == "float32"
    assert abs(noise.std() - 1) < 0.1
