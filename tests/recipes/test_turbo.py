"""The distillation's objective, by networks whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import ops

from recipes.mini import turbo
from recipes.mini.bank import Bank
from recipes.mini.denoiser import alphas_cumprod

SHAPE = (6, 2, 2, 3)
IGNORED: Any = lambda tokens: tokens  # noqa: E731  the captions


def velocity(network: float, x: Any, timesteps: Any, context: Any) -> Any:
    """Of a network that sees the same picture, ``network`` all over, in whatever it is shown:
    v = (alpha x - picture) / sigma, so that alpha x - sigma v is the picture."""
    abar = alphas_cumprod()[ops.convert_to_numpy(timesteps)][:, None, None, None]
    alpha, sigma = (ops.convert_to_tensor(np.sqrt(p).astype("float32")) for p in (abar, 1 - abar))
    return (alpha * x - network) / sigma


@pytest.fixture
def loss(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(turbo, "velocity", velocity)

    def loss(student: Any, teacher: Any, levels: list[int]) -> float:
        random = np.random.default_rng(0)
        latents, noise = (random.standard_normal(SHAPE).astype("float32") for _ in range(2))
        compare = turbo.objective(student, teacher, IGNORED, 2.0)
        tokens = np.zeros((len(levels), 4), "int32")
        batch = (latents[: len(levels)], noise[: len(levels)], np.array(levels, "int32"))
        found, _ = compare(*map(ops.convert_to_tensor, batch), tokens, tokens)
        return float(ops.convert_to_numpy(found))

    return loss


def test_a_student_that_agrees_with_itself_and_its_teacher_has_nothing_to_learn(loss: Any):
    assert loss(0.5, 0.5, [0, 1, 10, 25, 48, 49]) == pytest.approx(0, abs=1e-3)


def test_above_the_first_level_the_student_is_its_own_target(loss: Any):
    assert loss(0.2, 0.5, [1, 10, 49]) == pytest.approx(0, abs=1e-3)


def test_at_the_first_level_the_target_is_the_teachers_picture(loss: Any):
    wanted = np.sqrt(0.3**2 + turbo.ROUND**2) - turbo.ROUND
    assert loss(0.2, 0.5, [0]) == pytest.approx(wanted, rel=1e-2)


def test_samples_reach_every_level():
    latents, tokens = np.zeros((5, 2, 2, 3), "float16"), np.ones((5, 4), "uint16")
    bank = Bank(latents, tokens, np.arange(3), np.zeros(4, int))
    latents, noise, levels, tokens, empty = next(turbo.samples(bank, 2000, 0))
    assert set(levels) == set(range(turbo.LEVELS))
    assert (tokens == 1).all()
    assert (empty == 0).all()
    assert noise.shape == latents.shape
