"""Few steps are enough: they are taken where a step changes the picture."""

from __future__ import annotations

import pytest

from sfumato.checkpoints import open_model
from sfumato.diffusion import make_plan, training_sigmas
from sfumato.presets import PRESETS


@pytest.mark.parametrize("steps", [4, 8, 25])
def test_a_model_trained_down_to_no_signal_spends_one_step_on_it(steps: int) -> None:
    preset = PRESETS["mini"]
    training = training_sigmas(zero_terminal_snr=True)
    plan = make_plan(training, steps, preset.sampler, preset.schedule)
    assert training[-1] > 1000
    assert sum(plan.sigmas[:-1] < 30) >= steps - 1 - steps // 25


def test_a_model_of_zero_terminal_snr_steps_evenly_in_time_with_any_sampler() -> None:
    mini = open_model("mini")
    assert mini.noise["zero_terminal_snr"]
    assert mini.schedule_for(None) == mini.schedule_for("dpm2_a") == "trailing"
