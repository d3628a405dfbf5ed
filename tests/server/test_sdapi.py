"""A1111's API, judged by `webuiapi`."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import webuiapi
from fake_painters import Live, pixels_of
from PIL import Image
from sdapi_calls import URL, b64, opened, post

from sfumato import upscale
from sfumato.request import Request


@pytest.fixture
def api(live: Live) -> webuiapi.WebUIApi:
    return webuiapi.WebUIApi(host="127.0.0.1", port=live.port)


def test_the_client_paints(live: Live, api: webuiapi.WebUIApi):
    result = api.txt2img(
        prompt="a red apple",
        negative_prompt="blue",
        seed=1003,
        cfg_scale=7,
        sampler_name="DPM++ 2M Karras",
        steps=9,
        width=16,
        height=24,
        batch_size=2,
        n_iter=2,
    )
    assert len(result.images) == 4
    expected = pixels_of(Request(prompt="a red apple", seed=1004, width=16, height=24))
    assert np.array_equal(np.array(result.images[1]), expected)
    assert result.info["all_seeds"] == [1003, 1004, 1005, 1006]
    assert result.info["sampler_name"] == "DPM++ 2M"
    assert "Seed: 1003" in result.info["infotexts"][0]
    found = live.asked()
    assert (found["sampler"], found["schedule"]) == ("dpmpp_2m", "karras")
    assert (found["guidance"], found["steps"], found["count"]) == (7.0, 9, 4)
    assert found["negative_prompt"] == "blue"


def test_the_client_paints_on_pictures(live: Live, api: webuiapi.WebUIApi):
    picture = Image.new("RGB", (24, 16), (9, 9, 9))
    mask = Image.new("L", (24, 16), 0)
    mask.paste(255, (0, 0, 8, 16))
    for full in (True, False):
        result = api.img2img(
            images=[picture],
            prompt="a cat",
            mask_image=mask,
            inpaint_full_res=full,
            inpaint_full_res_padding=3,
            mask_blur=2,
            denoising_strength=0.6,
            width=16,
            height=16,
            steps=2,
        )
        assert result.image.size == (16, 16)
        found = live.asked()
        assert (found["strength"], found["mask_blur"]) == (0.6, 2.0)
        assert (found.get("inpaint_area"), found.get("padding")) == (
            ("masked", 3) if full else (None, None)
        )
        assert found.get("resize") == (None if full else "stretch")
        sent = live.client.get(f"/v1/uploads/{found['mask'].removeprefix('upload:')}").content
        assert np.array_equal(np.array(Image.open(io.BytesIO(sent))), np.array(mask))


def test_the_client_reads_its_lists(live: Live, api: webuiapi.WebUIApi):
    assert "DPM++ 2M" in api.util_get_sampler_names()
    assert {"automatic", "karras"} <= set(api.util_get_scheduler_names())
    assert api.util_get_model_names() == ["fake"]
    assert api.util_get_current_model() == "fake"
    upscalers = [each["name"] for each in api.get_upscalers()]
    assert {"None", "Lanczos", "Nearest", "ESRGAN"} <= set(upscalers)
    modes = [each["name"] for each in api.get_latent_upscale_modes()]
    assert {"Latent", "Latent (nearest-exact)"} <= set(modes)
    assert api.get_sd_vae()[0]["model_name"]
    assert api.get_loras() == api.get_prompt_styles() == []
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert api.get_memory()["ram"]["total"] > 0
    assert api.get_scripts() == {"txt2img": [], "img2img": []}
    assert api.get_cmd_flags() == {}
    api.refresh_checkpoints()
    api.util_wait_for_ready(0.01)


def test_every_name_that_is_listed_can_be_asked_for(live: Live):
    for kind, field in (("samplers", "sampler_name"), ("schedulers", "scheduler")):
        for row in live.client.get(f"{URL}/{kind}").json():
            for name in {row["name"], row.get("label", row["name"]), *row["aliases"]}:
                post(live, {"prompt": "x", "steps": 3, "width": 16, "height": 16, field: name})


def test_every_upscaler_that_is_listed_can_be_asked_for(live: Live):
    rows = [
        *live.client.get(f"{URL}/upscalers").json(),
        *live.client.get(f"{URL}/latent-upscale-modes").json(),
    ]
    body = {"prompt": "x", "steps": 3, "width": 16, "height": 16, "enable_hr": True}
    for row in rows:
        post(live, body | {"hr_upscaler": row["name"]})


@pytest.mark.parametrize(
    "name",
    [
        *("options", "progress", "samplers", "schedulers", "sd-models", "loras", "embeddings"),
        *("upscalers", "latent-upscale-modes", "sd-vae", "sd-modules", "memory", "scripts"),
        *("prompt-styles", "hypernetworks", "face-restorers", "cmd-flags"),
    ],
)
def test_paths_that_clients_ask_before_they_paint(live: Live, name: str):
    answer = live.client.get(f"{URL}/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"


def test_pictures_are_enlarged_by_a_network(live: Live):
    """ESRGAN's own result at twice the size, by the worker, and its middle for another shape."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 3), "uint8")
    given = {"image": b64(pixels), "upscaler_1": "ESRGAN", "upscaling_resize": 2}
    larger = np.array(opened(post(live, given, "extra-single-image")["image"]))
    assert np.array_equal(larger, upscale(pixels, 2, "esrgan"))
    assert not np.array_equal(larger, upscale(pixels, 2, "lanczos"))
    sides = {"resize_mode": 1, "upscaling_resize_w": 24, "upscaling_resize_h": 24}
    middle = np.array(opened(post(live, given | sides, "extra-single-image")["image"]))
    assert np.array_equal(middle, larger[:, 8:32])
    whole = post(live, given | sides | {"upscaling_crop": False}, "extra-single-image")
    assert opened(whole["image"]).size == (24, 24)
    batch = {"imageList": [{"data": b64(pixels), "name": "x.png"}] * 2, "upscaler_1": "ESRGAN"}
    images = post(live, batch, "extra-batch-images")["images"]
    assert [np.array_equal(np.array(opened(each)), larger) for each in images] == [True, True]
    assert live.client.get("/v1/jobs").json()["jobs"] == []  # nothing is kept


def test_enlarging_takes_its_turn_and_fails_alone(live: Live, monkeypatch: pytest.MonkeyPatch):
    threads: list[str] = []

    def fail(*given: Any) -> None:
        threads.append(threading.current_thread().name)
        raise MemoryError

    monkeypatch.setattr("sfumato.upscaling.enlarged", fail)
    answer = live.client.post(f"{URL}/extra-single-image", json={"image": b64(np.zeros((9, 9, 3)))})
    assert (answer.status_code, answer.json()["error"]) == (507, "out_of_memory")
    assert threads == ["sfumato-worker"]
    post(live, {"prompt": "x", "steps": 1, "width": 16, "height": 16})


def test_the_client_reads_and_enlarges_pictures(api: webuiapi.WebUIApi):
    result = api.txt2img(prompt="a red apple", seed=5, steps=2, width=16, height=16)
    assert api.png_info(result.image).info.startswith("a red apple\nSteps: 2")
    plain = api.png_info(Image.new("RGB", (8, 8)))
    assert plain.info == ""
    for upscaler in ("None", "Lanczos", "Nearest"):
        large = api.extra_single_image(result.image, upscaler_1=upscaler, upscaling_resize=1.5)
        assert large.image.size == (24, 24)
    batch = api.extra_batch_images([result.image] * 2, upscaler_1="Lanczos", upscaling_resize=2)
    assert [picture.size for picture in batch.images] == [(32, 32)] * 2
    with pytest.raises(RuntimeError, match="upscaler_1"):
        api.extra_single_image(result.image, upscaler_1="R-ESRGAN 4x+")
    with pytest.raises(RuntimeError, match="pixels"):
        api.extra_single_image(result.image, upscaler_1="None", upscaling_resize=1e6)


def test_progress_with_a_preview_and_interrupting(live: Live, api: webuiapi.WebUIApi):
    idle = {"progress": 0.0, "eta_relative": 0.0, "current_image": None}
    found = api.get_progress()
    assert {name: found[name] for name in idle} == idle
    assert found["state"]["job_count"] == 0

    live.studio.painter.pace = 0.02
    body = {"prompt": "x", "steps": 140, "width": 16, "height": 16}
    answers: list[Any] = []
    painting = threading.Thread(
        target=lambda: answers.append(live.client.post(f"{URL}/txt2img", json=body))
    )
    painting.start()
    until = time.monotonic() + 10
    while not (found := api.get_progress())["current_image"]:
        assert time.monotonic() < until
    assert 0 < found["progress"] < 1
    assert found["state"]["sampling_steps"] == 140
    assert (found["state"]["job_count"], found["eta_relative"] > 0) == (1, True)
    assert opened(found["current_image"]).size == (2, 2)
    assert api.get_options()["sd_model_checkpoint"] == "fake"  # at once, while it paints
    api.interrupt()
    painting.join(10)
    assert (answers[0].status_code, answers[0].json()["error"]) == (499, "cancelled")
    assert live.studio.painter.steps_done < 140
    assert api.get_progress()["state"]["job_count"] == 0


def test_what_is_done_is_given_to_who_interrupts(open_live: Callable[..., Live]):
    live = open_live(batch=1)
    live.studio.painter.pace = 0.02
    body = {"prompt": "x", "steps": 20, "n_iter": 4, "width": 16, "height": 16}
    answers: list[Any] = []
    painting = threading.Thread(
        target=lambda: answers.append(live.client.post(f"{URL}/txt2img", json=body))
    )
    painting.start()
    until = time.monotonic() + 10
    while live.client.get(f"{URL}/progress").json()["progress"] < 0.3:
        assert time.monotonic() < until
    live.client.post(f"{URL}/interrupt")
    painting.join(10)
    assert 1 <= len(answers[0].json()["images"]) < 4


def test_skipping_leaves_out_a_picture_and_goes_on_with_the_next(open_live: Callable[..., Live]):
    live = open_live(batch=1)
    painter = live.studio.painter
    painter.pace = 0.02
    body = {"prompt": "x", "steps": 100, "n_iter": 2, "seed": 5, "width": 16, "height": 16}
    for count, expected in ((3, [6, 7]), (1, None)):
        before = len(painter.batches)
        answers: list[Any] = []
        given = body | {"n_iter": count}
        painting = threading.Thread(
            target=lambda given=given, answers=answers: answers.append(
                live.client.post(f"{URL}/txt2img", json=given)
            )
        )
        painting.start()
        until = time.monotonic() + 10
        while live.client.get(f"{URL}/progress").json()["state"]["sampling_step"] < 1:
            assert time.monotonic() < until
        assert live.client.post(f"{URL}/skip").json() == {}
        painter.pace = 0.001
        painting.join(30)
        painter.pace = 0.02
        assert len(painter.batches) - before == count
        if expected is None:  # nothing is left
            assert (answers[0].status_code, answers[0].json()["error"]) == (499, "cancelled")
            continue
        found = answers[0].json()
        assert json.loads(found["info"])["all_seeds"] == expected
        assert len(found["images"]) == 2
    assert live.client.post(f"{URL}/skip").json() == {}  # nothing is painted


def test_the_model_is_chosen_by_options_or_in_the_request(open_live: Callable[..., Live]):
    live = open_live(models=["fake=mini", "other=mini-turbo"])
    whole = live.client.get(f"{URL}/options").json()
    assert whole["samples_format"] == "png"
    body = {"prompt": "x", "steps": 2, "width": 16, "height": 16}
    # Open WebUI sends back the whole dictionary.
    changed = whole | {"sd_model_checkpoint": "other [6ce0161689]", "unknown": {"a": 1}}
    assert live.client.post(f"{URL}/options", json=changed).json() == {}
    assert live.client.get(f"{URL}/options").json()["sd_model_checkpoint"] == "other"
    post(live, body)
    assert live.asked()["model"] == "other"
    post(live, body | {"override_settings": {"sd_model_checkpoint": "fake"}})
    assert live.asked()["model"] == "fake"
    post(live, body | {"model": "fake"})
    assert live.asked()["model"] == "fake"
    answer = live.client.post(f"{URL}/options", json={"sd_model_checkpoint": "none such"})
    assert answer.status_code == 400
