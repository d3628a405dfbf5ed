"""Bodies of any kind: each API answers with a request, or with an error that names a field."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_painters import Studio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sfumato.request import Request, RequestError
from sfumato.request.fields import specs
from sfumato.server import sdapi_extras, sdapi_lists, sdapi_order, wire
from sfumato.server.errors import ApiError
from sfumato.server.mcp import Tools
from sfumato.server.openai_order import SPELLINGS, Order
from sfumato.server.service import Service


def png(*shape: int) -> str:
    file = io.BytesIO()
    Image.fromarray(np.zeros(shape, "uint8")).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


SMALL = png(16, 16, 3)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["euler", "Euler a", "auto", "512x512", "png", "both", SMALL, png(8, 8, 4)]),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=3),
    st.dictionaries(st.text(max_size=3), st.one_of(st.none(), st.integers()), max_size=2),
)
OURS = [*specs(Request)]
OPENAI = [*OURS, *SPELLINGS, "size", "stream", "partial_images", "output_format", "images", "mask"]
SDAPI = [
    *(*OURS, *sdapi_lists.DEFAULTS, *sdapi_order.SPELLINGS, "init_images", "override_settings"),
    *("mask", "sampler_index", "upscaling_resize", "upscaler_1", "upscaling_resize_w"),
]
QUICK = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def service(open_studio: Callable[..., Studio]) -> Service:
    return open_studio(max_side=64, max_pixels=4096).service


def answered(make: Callable[[], Any], service: Service) -> None:
    """Make a request and complete it; what cannot be is said."""
    try:
        made = make()
        if isinstance(made, Request):
            service.submit(made)
    except (RequestError, ApiError):
        pass
    service.queue.clear("interrupted")


def bodies(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), VALUES, max_size=5)


@QUICK
@given(body=bodies(OURS))
def test_native(service: Service, body: dict[str, Any]):
    answered(lambda: wire.request_of({"prompt": "x", "steps": 1} | body, service), service)


@QUICK
@given(body=bodies(OPENAI), begins=st.booleans())
def test_openai(service: Service, body: dict[str, Any], begins: bool):
    given = {"prompt": "x", "steps": 1} | ({"image": SMALL} if begins else {}) | body

    def make() -> Request:
        order = Order(given, service, "image" if begins else "")
        order.model()
        return order.request()

    answered(make, service)


@QUICK
@given(body=bodies(SDAPI), begins=st.booleans())
def test_sdapi(service: Service, body: dict[str, Any], begins: bool):
    given = {"prompt": "x", "steps": 1} | ({"init_images": [SMALL]} if begins else {}) | body

    def make() -> Request:
        sdapi_order.model_of(given, service, None)
        return sdapi_order.request_of(given, service, begins)

    answered(make, service)
    answered(lambda: sdapi_extras.larger(SMALL, given, service), service)


@QUICK
@given(
    tool=st.sampled_from(["generate_image", "edit_image", "get_status", "cancel"]),
    body=bodies([*OURS, "job", "wait"]),
)
def test_mcp(service: Service, tool: str, body: dict[str, Any]):
    given = {"prompt": "x", "steps": 1, "image": SMALL} | body | {"wait": False}

    class Context:
        request = None

    result = asyncio.run(Tools(service).call(Context(), tool, given))
    assert not result.content[0].text.startswith("internal")
    result.model_dump_json()
    service.queue.clear("interrupted")
