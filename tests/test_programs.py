"""The table that tells the step what to do."""

from __future__ import annotations

import numpy as np
import pytest

from sfumato import programs
from sfumato.diffusion.plan import make_plan
from sfumato.diffusion.schedules import training_sigmas


@pytest.mark.parametrize("steps", [1, 25, 700, 1000])
def test_the_table_has_one_shape_for_ordinary_runs(steps: int) -> None:
    plan = make_plan(training_sigmas(), steps, "heun", "uniform")
    table = programs.tabulate(plan, "epsilon")
    rows = 1024 if steps < 513 else 2048
    assert table.shape == (rows, 4 + 6 * 8)
    assert table.dtype == np.float32
    assert np.isfinite(table).all()
