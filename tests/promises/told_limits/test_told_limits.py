"""The largest request is told, and a larger one is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_painters import Live, Studio

from sfumato.request import Request, RequestError
from sfumato.server.settings import LIMITS, Settings


def ask(prompt: str = "a red apple", **fields: Any) -> Request:
    return Request(**{"prompt": prompt, "seed": 1, "steps": 3} | fields)


def test_limits_are_checked_before_anything_is_computed(open_studio: Callable[..., Studio]):
    studio = open_studio(max_steps=10, max_side=64, max_count=2, max_words=20)
    for field, value in {
        "steps": 10**9,
        "width": 72,
        "count": 3,
        "prompt": "a" * 21,
        "seed": 2**64 - 1,
        "model": "/etc/passwd",
        "upscale": 8,
        "refiner": "/etc/passwd",
        "seed_resize": (40_000, 40_000),
        "extend": {"left": 5_000_000},
        "upscale_steps": 1000,
    }.items():
        others = {"seed": {"count": 2}, "upscale_steps": {"upscale": 1}}
        others["extend"] = {"image": np.zeros((16, 16, 3), "uint8"), "inpaint_area": "masked"}
        request = ask(**{field: value} | others.get(field, {}))
        with pytest.raises(RequestError) as caught:
            studio.service.submit(request)
        assert caught.value.name == field
    assert len(studio.service.queue) == 0


def test_every_limit_is_told(live: Live):
    told = live.client.get("/v1/capabilities").json()["limits"]
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra["group"] == LIMITS:
            assert name in told
    assert told["max_body"] == live.studio.settings.max_body * 2**20
    assert told["deadline"] == live.studio.settings.deadline
