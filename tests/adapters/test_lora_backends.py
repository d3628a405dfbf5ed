"""LoRAs change pictures, compile nothing, and leave the weights as they were, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tiny_model
from adapters.tiny_loras import digest, show, write

pytestmark = pytest.mark.backend("openvino", "torch", "tensorflow", "jax")


def test_loras_are_seen_without_compiling_and_go_without_a_trace(tmp_path: Path) -> None:
    model, files = tiny_model.load(tiny_model.save(tmp_path / "model")), write(tmp_path)
    before = show(model)
    digests = [digest(model.diffusion_model), digest(model.text_encoder)]
    programs = [model.parts.evaluate, model.parts.encode_text, model.parts.prepare]
    before_that = traces(programs)

    one = show(model, (files[0], 0.8))
    assert not np.array_equal(one, before)
    # OpenVINO's executables hold the weights.
    more = 1 if keras.backend.backend() == "openvino" else 0
    assert traces(programs) == [n + more for n in before_that]

    model.parts.loras.use(())
    assert [digest(model.diffusion_model), digest(model.text_encoder)] == digests
    both, turned = show(model, *files), show(model, *files[::-1])
    assert not np.array_equal(both, one)
    assert np.abs(both.astype(int) - turned).max() <= 1  # sums in another order
    assert np.array_equal(show(model, (files[0], 0.8)), one)
    assert np.array_equal(show(model, (files[0], 0)), before)
    assert np.array_equal(show(model), before)
    assert programs == [model.parts.evaluate, model.parts.encode_text, model.parts.prepare]
    assert [digest(model.diffusion_model), digest(model.text_encoder)] == digests


def traces(programs: list[Any]) -> list[int]:
    """How often each was traced; PyTorch's run as they are until their 51st call."""
    return [getattr(program, "traces", 0) for program in programs]
