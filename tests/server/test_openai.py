"""OpenAI's images API, judged by its own client and by the recorded bodies of others."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from fake_painters import Live, pixels_of
from openai_calls import picture

from sfumato.pictures import load_recipe
from sfumato.request import Request

TOKEN = "s3cret"


def test_the_client_gets_what_a_request_says(live: Live, client: openai.OpenAI):
    fields = {"steps": 3, "seed": 7, "negative_prompt": "blue", "guidance": 5, "sampler": "euler"}
    answer = client.images.generate(prompt="a red apple", n=2, size="16x24", extra_body=fields)
    assert answer.data is not None
    assert len(answer.data) == 2
    request = Request.from_json({"prompt": "a red apple", "width": 16, "height": 24, "seed": 8})
    assert np.array_equal(np.array(picture(answer.data[1].b64_json)), pixels_of(request))
    assert (answer.size, answer.output_format, answer.background) == ("16x24", "png", "opaque")
    assert abs(answer.created - time.time()) < 60
    assert live.asked() == fields | {
        "prompt": "a red apple",
        "count": 2,
        "width": 16,
        "height": 24,
        "schedule": "sgm_uniform",
        "model": "fake",
    } | {"guidance": 5.0, "schedule": live.asked()["schedule"]}


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("num_inference_steps", 9, "steps"),
        ("step", 9, "steps"),
        ("guidance_scale", 3.5, "guidance"),
        ("cfg_scale", 3.5, "guidance"),
        ("true_cfg_scale", 3.5, "guidance"),
        ("rng_seed", 11, "seed"),
        ("sampler_name", "euler_a", "sampler"),
        ("scheduler", "karras", "schedule"),
        ("clip_skip", 2, "clip_skip"),
        ("token_merging", 0.5, "token_merging"),
        ("safety", "blur", "safety"),
    ],
)
def test_every_field_may_stand_next_to_theirs(
    live: Live, client: openai.OpenAI, field: str, value: Any, name: str
):
    client.images.generate(prompt="x", extra_body={field: value})
    assert live.asked()[name] == value


# The bodies that clients send, by the section of the list of clients.
BODIES = {
    "Open WebUI": {
        "model": "dall-e-2",
        "prompt": "x",
        "n": 1,
        "size": "512x512",
        "response_format": "b64_json",
        "steps": 2,
        "negative_prompt": "blue",
        "seed": 1,
    },
    "Open WebUI without a size": {"model": "gpt-image-1", "prompt": "x", "n": 1},
    "LibreChat": {
        "model": "gpt-image-1",
        "prompt": "x",
        "n": 1,
        "background": "auto",
        "output_format": "png",
        "quality": "auto",
        "size": "auto",
    },
    "Kobold Lite": {
        "model": "fake",
        "prompt": "x",
        "n": 1,
        "size": "1024x1024",
        "response_format": "b64_json",
    },
    "Dify": {
        "model": "dall-e-3",
        "prompt": "x",
        "size": "1792x1024",
        "n": 1,
        "style": "vivid",
        "quality": "standard",
        "response_format": "b64_json",
    },
    "Nextcloud": {"prompt": "x", "size": "256x256", "n": 1, "model": "fake"},
    "AnythingLLM": {"model": "fake", "prompt": "x", "size": "1024x1024", "n": 1},
    "n8n": {
        "prompt": "x",
        "model": "dall-e-3",
        "response_format": "b64_json",
        "n": 1,
        "size": "1024x1024",
        "quality": "hd",
        "style": "natural",
    },
    "Vercel": {"model": "fake", "prompt": "x", "n": 1, "response_format": "b64_json"},
    "LobeChat": {"model": "gpt-image-2", "n": 1, "prompt": "x", "user": "me"},
    "with nulls": {"prompt": "x", "model": None, "n": None, "size": None, "seed": None},
}


@pytest.mark.parametrize("name", BODIES)
def test_recorded_bodies_get_base64_and_no_url(live: Live, name: str):
    body = BODIES[name]
    for authorization in ("Bearer key", ""):
        headers = {"Authorization": authorization}
        answer = live.client.post("/v1/images/generations", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        (data,) = answer.json()["data"]
        assert "url" not in data
        size = body.get("size") or "16x16"
        side = (16, 16) if size == "auto" else tuple(map(int, size.split("x")))
        assert picture(data["b64_json"]).size == side


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"size": "huge"}, "size"),
        ({"size": "17x17"}, "height"),
        ({"size": "99999x99999"}, "width"),
        ({"n": 0}, "count"),
        ({"n": 1000}, "count"),
        ({"steps": "many"}, "steps"),
        ({"model": "none-such"}, "model"),
        ({"response_format": "file"}, "response_format"),
        ({"output_format": "gif"}, "output_format"),
        ({"output_compression": 101}, "output_compression"),
        ({"prompt": None}, "prompt"),
        ({"wildcards": "/etc"}, "wildcards"),
    ],
)
def test_errors_have_openais_shape(client: openai.OpenAI, fields: dict[str, Any], param: str):
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt="x", extra_body=fields)
    assert (caught.value.param, caught.value.code) == (param, "invalid_request")
    assert caught.value.type == "invalid_request_error"
    assert caught.value.body["message"].startswith("`")  # type: ignore[index]


def test_failures_have_a_status(live: Live, client: openai.OpenAI):
    def trouble(requests):
        raise MemoryError

    live.studio.painter.trouble = trouble
    with pytest.raises(openai.InternalServerError) as caught:
        client.images.generate(prompt="x")
    assert (caught.value.status_code, caught.value.code) == (507, "out_of_memory")


def test_a_full_queue_is_a_rate_limit(open_live: Callable[..., Live]):
    live = open_live(queue=1)
    live.fill()
    client = openai.OpenAI(base_url=f"{live.address}/v1", api_key="x", max_retries=0)
    with client, pytest.raises(openai.RateLimitError) as caught:
        client.images.generate(prompt="x")
    assert caught.value.response.headers["retry-after"]


def test_the_token_is_the_key(open_live: Callable[..., Live]):
    live = open_live(token=TOKEN)
    for key, works in ((TOKEN, True), ("other", False)):
        client = openai.OpenAI(base_url=f"{live.address}/v1", api_key=key, max_retries=0)
        if works:
            assert client.images.generate(prompt="x").data
            continue
        with pytest.raises(openai.AuthenticationError):
            client.images.generate(prompt="x")


def test_other_formats_keep_the_recipe(client: openai.OpenAI, tmp_path):
    sizes = {}
    for kind, compression in (("jpeg", 10), ("jpeg", 95), ("webp", 80)):
        answer = client.images.generate(
            prompt="a red apple",
            size="64x64",
            output_format=kind,  # type: ignore[arg-type]
            output_compression=compression,
            extra_body={"seed": 3},
        )
        assert answer.data is not None
        text = answer.data[0].b64_json
        assert picture(text).format == kind.upper()
        sizes[kind, compression] = len(text or "")
        path = tmp_path / f"x.{kind}"
        path.write_bytes(base64.b64decode(text or ""))
        recipe = load_recipe(path)
        assert recipe is not None
        assert (recipe.prompt, recipe.items["Seed"]) == ("a red apple", "3")
    assert sizes["jpeg", 10] <= sizes["jpeg", 95]


def test_a_url_is_given_to_those_who_ask(live: Live, client: openai.OpenAI):
    answer = client.images.generate(prompt="x", response_format="url")
    assert answer.data is not None
    assert answer.data[0].b64_json is None
    assert httpx.get(answer.data[0].url or "").headers["content-type"] == "image/png"


def test_drawn_words_are_told(client: openai.OpenAI):
    answer = client.images.generate(prompt="a {red|green} apple")
    assert answer.data is not None
    assert answer.data[0].revised_prompt in ("a red apple", "a green apple")


def test_a_stream_has_partial_pictures_and_the_picture(live: Live, client: openai.OpenAI):
    stream = client.images.generate(
        prompt="x", stream=True, partial_images=2, size="24x16", extra_body={"steps": 6, "seed": 1}
    )
    events = [*stream]
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    indices = [event.partial_image_index for event in events[:2]]  # type: ignore[union-attr]
    assert indices == [0, 1]
    assert {picture(event.b64_json).size for event in events} == {(24, 16)}
    expected = pixels_of(Request(prompt="x", seed=1, width=24, height=16))
    assert np.array_equal(np.array(picture(events[-1].b64_json)), expected)


def test_a_stream_tells_of_a_failure(live: Live, client: openai.OpenAI):
    def trouble(requests):
        raise MemoryError

    live.studio.painter.trouble = trouble
    with pytest.raises(openai.APIError, match="too little memory"):
        [*client.images.generate(prompt="x", stream=True)]


def test_models_are_listed(open_live: Callable[..., Live]):
    for named in (False, True):
        live = open_live(openai_names=named, models=["fake=mini", "other=mini-turbo"])
        client = openai.OpenAI(base_url=f"{live.address}/v1", api_key="x")
        names = [model.id for model in client.models.list()]
        assert names == ["fake", "other", *(["dall-e-3"] if named else [])]
        assert client.models.retrieve("other").owned_by == "sfumato"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("none")
        client.images.generate(prompt="x", model="other")
        assert live.asked()["model"] == "other"
