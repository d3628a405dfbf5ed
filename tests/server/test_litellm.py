"""OpenAI's images API, judged by LiteLLM, which speaks to it for many programs."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_painters import Live, pixels_of
from PIL import Image

from sfumato.request import Request

pytestmark = [
    pytest.mark.slow,  # it takes long to import
    pytest.mark.filterwarnings("ignore"),  # of its own and of what it imports
]


@pytest.fixture(scope="module")
def litellm() -> Any:
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(action="ignore"):
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it is fetched
        import litellm

        litellm.suppress_debug_info = True
        yield litellm


@pytest.fixture
def call(litellm: Any) -> Callable[..., Any]:
    def call(live: Live, key: str = "any", /, **fields: Any) -> Any:
        given = {"api_base": f"{live.address}/v1", "api_key": key, "max_retries": 0}
        return litellm.image_generation(model="openai/fake", **given, **fields)

    return call


def test_a_picture_with_fields_that_it_does_not_know(live: Live, call: Callable[..., Any]):
    ours = {"seed": 3, "steps": 5, "negative_prompt": "blue", "guidance": 4}
    theirs = {"n": 2, "size": "16x24", "quality": "low", "user": "me", "output_format": "png"}
    answer = call(live, prompt="a red apple", **ours, **theirs)
    picture = Image.open(io.BytesIO(base64.b64decode(answer.data[1].b64_json)))
    request = Request(prompt="a red apple", seed=4, width=16, height=24)
    assert np.array_equal(np.array(picture), pixels_of(request))
    assert answer.data[0].url is None
    found = live.asked()
    assert {name: found[name] for name in ours} == ours
    assert (found["count"], found["model"]) == (2, "fake")


def test_errors_and_the_token(
    open_live: Callable[..., Live], call: Callable[..., Any], litellm: Any
):
    live = open_live(token="s3cret")
    assert call(live, "s3cret", prompt="x", size="16x16").data[0].b64_json
    with pytest.raises(litellm.AuthenticationError):
        call(live, "other", prompt="x")
    with pytest.raises(litellm.BadRequestError, match="steps"):
        call(live, "s3cret", prompt="x", steps=-1)
