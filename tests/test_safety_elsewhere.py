"""The safety classifier on the other backends, compiled as it is used, against the original."""

from __future__ import annotations

import pytest

from recipes.nsfwjs.judge import photograph
from sfumato import classify
from test_safety import EXPECTED

pytestmark = pytest.mark.backend("tensorflow", "torch", "openvino")


@pytest.mark.parametrize("name", ["camera.png", "microaneurysms.png"])
def test_it_says_what_the_original_says(name: str):
    assert classify(photograph(name)) == pytest.approx(EXPECTED[name], abs=1e-4)  # seen: 1e-6
