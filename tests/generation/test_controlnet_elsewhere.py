"""A picture that a ControlNet leads on the other backends, against diffusers' pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_controlnets import Pair

pytestmark = pytest.mark.backend("tensorflow", "torch", "openvino")


@pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")
def test_a_led_picture(tmp_path: Path) -> None:
    """Two ControlNets, the first of which is silent at the last step."""
    pair = Pair("1.x", tmp_path)
    expected = pair.theirs(
        2, controlnet_conditioning_scale=[0.8, 0.5], control_guidance_end=[0.7, 1.0]
    )
    got = pair.paint({"weight": 0.8, "end": 0.7}, {"weight": 0.5})
    assert expected.std() > 5
    assert np.abs(got - expected).max() <= 1
