"""What each client program does with a server, call by call, and the rules that follow from it.

The calls are those of Open WebUI 0.12, SillyTavern 1.19, LibreChat, Kobold Lite, Nextcloud, n8n,
LobeChat and the Vercel AI SDK. Their bodies one by one are in `test_sdapi_bodies`, `test_openai`.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fake_painters import Live
from PIL import Image
from test_sdapi_bodies import KOBOLD, SILLY

HERE = Path(__file__).parent
SD = "/sdapi/v1"


def basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


def read(live: Live, path: str, **headers: str) -> Any:
    answer = live.client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def size(text: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True))).size


def png(*shape: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full(shape, 200, "uint8")).save(file, "PNG")
    return file.getvalue()


def test_open_webui_with_the_engine_automatic1111(live: Live):
    key = basic("key")
    options = read(live, f"{SD}/options", **key)
    (model,) = read(live, f"{SD}/sd-models", **key)
    assert {"title", "model_name"} <= model.keys()
    changed = options | {"sd_model_checkpoint": model["title"]}
    assert live.client.post(f"{SD}/options", json=changed, headers=key).is_success
    assert read(live, f"{SD}/options", **key)["sd_model_checkpoint"] == model["title"]
    body = {"prompt": "x", "batch_size": 1, "width": 512, "height": 512, "steps": 50}
    answer = live.client.post(f"{SD}/txt2img", json=body, headers={"authorization": ""}).json()
    assert size(answer["images"][0]) == (512, 512)
    assert isinstance(answer["info"], str)


def test_open_webui_with_the_engine_openai(live: Live):
    body = {"model": "dall-e-2", "prompt": "x", "n": 1, "size": "512x512"}
    asked = live.client.post("/v1/images/generations?api-version=2024-02-01", json=body).json()
    assert size(asked["data"][0]["b64_json"]) == (512, 512)
    assert asked["data"][0].get("url") is None  # one of a private address would be refused
    form = {"model": "dall-e-2", "prompt": "x", "response_format": "b64_json"}
    files = {"image": ("3f2b.png", png(16, 16, 3), "image/png")}
    edited = live.client.post("/v1/images/edits", data=form, files=files).json()
    assert size(edited["data"][0]["b64_json"]) == (16, 16)


def test_sillytavern_as_automatic1111(live: Live):
    none = basic(":")
    assert "sd_model_checkpoint" in read(live, f"{SD}/options", **none)
    keys = {"samplers": "name", "schedulers": "name", "sd-models": "title", "upscalers": "name"}
    keys |= {"latent-upscale-modes": "name", "sd-vae": "model_name"}
    for path, key in keys.items():
        rows = read(live, f"{SD}/{path}", **none)
        assert rows
        assert all(isinstance(row[key], str) for row in rows)
    assert read(live, f"{SD}/sd-modules", **none) == []
    choice = {"sd_model_checkpoint": "fake"}
    assert live.client.post(f"{SD}/options", json=choice, headers=none).is_success
    progress = read(live, f"{SD}/progress", **none)
    assert (progress["progress"], progress["state"]["job_count"]) == (0.0, 0)
    answer = live.client.post(f"{SD}/txt2img", json=SILLY, headers=none)
    assert size(answer.json()["images"][0]) == (512, 512)
    assert live.client.post(f"{SD}/interrupt", headers=none).is_success


def test_sillytavern_as_stable_diffusion_cpp(live: Live):
    assert live.client.options("/v1/images/generations").is_success
    (model,) = read(live, "/v1/models")["data"]
    body = {"model": model["id"], "prompt": "x", "negative_prompt": "blue", "width": 64}
    body |= {"height": 64, "steps": 4, "cfg_scale": 7, "seed": 2, "batch_size": 1, "clip_skip": 2}
    for names in ("euler_a discrete", "dpm++2s_a karras", "ddim_trailing simple", "tcd ays"):
        sampler, schedule = names.split()
        given = body | {"sampler_name": sampler, "scheduler": schedule}
        answer = live.client.post(f"{SD}/txt2img", json=given)
        assert answer.is_success, answer.text
        assert size(answer.json()["images"][0]) == (64, 64)


def test_librechat(live: Live):
    body = {"prompt": "x", "negative_prompt": "blue", "cfg_scale": 4.5, "steps": 22}
    answer = live.client.post(f"{SD}/txt2img", json=body | {"width": 64, "height": 32}).json()
    info = json.loads(answer["info"])
    assert (info["width"], info["height"]) == size(answer["images"][0]) == (64, 32)
    assert f"Seed: {info['seed']}" in info["infotexts"][0]
    form = {"model": "gpt-image-1", "prompt": "x", "quality": "auto", "size": "auto"}
    files = [("image[]", ("a.png", png(16, 24, 3), "image/png"))]
    edited = live.client.post("/v1/images/edits", data=form, files=files).json()
    assert size(edited["data"][0]["b64_json"])


def test_kobold_lite(open_live: Callable[..., Live]):
    page = {"Origin": "https://lite.example"}
    live = open_live(cors="https://lite.example")
    asking = page | {"Access-Control-Request-Method": "POST"}
    asking |= {"Access-Control-Request-Headers": "content-type"}
    assert live.client.options(f"{SD}/txt2img", headers=asking).is_success
    assert read(live, f"{SD}/sd-models", **page)[0]["title"] == "fake"
    options = read(live, f"{SD}/options", **page)
    assert None not in (options["samples_format"], options["sd_model_checkpoint"])
    answer = live.client.post(f"{SD}/txt2img", json=KOBOLD, headers=page)
    assert answer.headers["access-control-allow-origin"] == page["Origin"]
    assert size(answer.json()["images"][0]) == (64, 64)
    begun = KOBOLD | {"init_images": answer.json()["images"], "denoising_strength": 0.6}
    assert live.client.post(f"{SD}/img2img", json=begun, headers=page).is_success
    body = {"model": "x-dall-e", "prompt": "x", "n": 1, "size": "1024x1024"}
    body |= {"model": "gpt-image-1", "quality": "medium"}
    made = live.client.post("/v1/images/generations", json=body, headers=page).json()
    assert size(made["data"][0]["b64_json"]) == (1024, 1024)


def test_nextcloud_and_n8n(open_live: Callable[..., Live]):
    live = open_live(openai_names=True)
    names = [model["id"] for model in read(live, "/v1/models")["data"]]
    assert names == ["fake", "dall-e-3"]  # n8n looks for one that begins so
    for name in names:
        body = {"prompt": "x", "size": "256x256", "n": 1, "model": name}
        made = live.client.post("/v1/images/generations", json=body).json()
        assert size(made["data"][0]["b64_json"]) == (256, 256)


def test_forms_of_the_vercel_sdk_and_of_lobechat(live: Live):
    form = {"model": "fake", "prompt": "x", "size": "16x24", "response_format": "b64_json"}
    mask = np.zeros((16, 16, 4), "uint8")
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    files = {"image": ("a.png", png(16, 16, 3), "image/png")}
    for data, more in (
        (form, {"mask": ("m.png", file.getvalue(), "image/png")}),
        (form | {"model": "gpt-image-1", "input_fidelity": "high", "n": "1"}, {}),
    ):
        made = live.client.post("/v1/images/edits", data=data, files=files | more).json()
        assert isinstance(made["data"][0]["b64_json"], str)
        assert size(made["data"][0]["b64_json"]) == (16, 24)


@pytest.mark.parametrize(
    ("name", "sampler", "schedule"),
    [
        ("DPM++ 2M Karras", "dpmpp_2m", "karras"),
        ("DPM++ SDE Exponential", "dpmpp_sde", "exponential"),
        ("Euler a", "euler_a", None),
        ("k_euler_a", "euler_a", None),
        ("k_dpmpp_2m", "dpmpp_2m", None),
        ("euler_ancestral", "euler_a", None),
        ("dpmpp_2m_sde", "dpmpp_2m_sde", None),
        ("dpm++2m", "dpmpp_2m", None),
        ("Automatic", None, None),
    ],
)
@pytest.mark.parametrize("field", ["sampler_name", "sampler_index"])
def test_names_of_samplers(
    live: Live, name: str, sampler: str | None, schedule: str | None, field: str
):
    body = {"prompt": "x", "steps": 3, "width": 16, "height": 16, field: name}
    answer = live.client.post(f"{SD}/txt2img", json=body)
    assert answer.is_success, answer.text
    found = read(live, "/v1/jobs?limit=1")["jobs"][0]["request"]
    assert sampler in (None, found["sampler"])
    assert schedule in (None, found["schedule"])


def test_who_leaves_stops_the_work(live: Live):
    live.studio.painter.pace = 0.05
    body = {"prompt": "x", "steps": 150, "width": 16, "height": 16}
    with pytest.raises(httpx.ReadTimeout):  # a second, as the machine may be busy
        live.client.post(f"{SD}/txt2img", json=body, timeout=1)
    until = time.monotonic() + 10
    while (job := read(live, "/v1/jobs")["jobs"][0])["state"] != "cancelled":
        assert time.monotonic() < until, job
    assert live.studio.painter.steps_done < 150


def test_every_path_may_be_asked_what_it_allows(open_live: Callable[..., Live]):
    live = open_live(token="s3cret")
    schema = read(live, "/openapi.json", Authorization="Bearer s3cret")
    for path in schema["paths"]:
        assert live.client.options(path.replace("{name}", "x")).is_success, path


RULES = {
    "1 unknown fields are let pass, and what only OpenAI has": (
        "test_recorded_bodies_get_what_their_clients_read",
        "test_recorded_bodies_get_base64_and_no_url",
        "test_a_picture_with_fields_that_it_does_not_know",
    ),
    "2 base64 unless a URL is asked for": (
        "test_recorded_bodies_get_base64_and_no_url",
        "test_a_url_is_given_to_those_who_ask",
    ),
    "3 no size is the model's, a wrong one an error in OpenAI's shape": (
        "test_recorded_bodies_get_base64_and_no_url",
        "test_errors_have_openais_shape",
    ),
    "4 any authorization without a token, Bearer or Basic with one": (
        "test_without_a_token_any_authorization_will_do",
        "test_the_token_is_taken_as_clients_give_it",
    ),
    "5 OPTIONS everywhere, CORS by a list": (
        "test_every_path_may_be_asked_what_it_allows",
        "test_cors_is_for_the_origins_that_are_listed",
    ),
    "6 OpenAI's models mean ours": (
        "test_recorded_bodies_get_base64_and_no_url",
        "test_nextcloud_and_n8n",
    ),
    "7 options answer at once, and take a whole dictionary": (
        "test_progress_with_a_preview_and_interrupting",
        "test_the_model_is_chosen_by_options_or_in_the_request",
    ),
    "8 progress of nothing is 0.0": ("test_progress_with_a_preview_and_interrupting",),
    "9 info is text in JSON": ("test_recorded_bodies_get_what_their_clients_read",),
    "10 every list is there": ("test_paths_that_clients_ask_before_they_paint",),
    "11 names of samplers and schedules of all programs": (
        "test_names_of_samplers",
        "test_every_name_that_is_listed_can_be_asked_for",
    ),
    "12 A1111's steps are 50": ("test_recorded_bodies_get_what_their_clients_read",),
    "13 who leaves or interrupts stops the work": (
        "test_who_leaves_stops_the_work",
        "test_who_goes_away_cancels",
        "test_progress_with_a_preview_and_interrupting",
    ),
    "14 our fields next to OpenAI's": ("test_every_field_may_stand_next_to_theirs",),
    "15 A1111's errors have a status and a detail": ("test_errors_have_a_detail",),
    "16 who waits 300 seconds only is told of": ("test_the_page_tells_of_a_short_patience",),
}
"""What a server for these clients must do, and the tests that hold it."""


def test_each_rule_is_held_by_tests():
    promises = HERE.parent / "promises"
    files = [*HERE.glob("test_*.py"), *promises.glob("*/test_*.py")]
    trees = [ast.parse(path.read_text("utf-8")) for path in files]
    names = {
        node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    }
    assert [rule for rule, tests in RULES.items() if not names.issuperset(tests)] == []
    assert [int(rule.split()[0]) for rule in RULES] == [*range(1, 17)]


def test_the_page_tells_of_a_short_patience():
    page = (HERE.parents[1] / "docs" / "server.md").read_text("utf-8")
    assert "AIOHTTP_CLIENT_TIMEOUT" in page
