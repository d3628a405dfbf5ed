"""A1111's API, judged by `webuiapi` and by the recorded bodies of its clients."""

from __future__ import annotations

import base64
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

from sfumato import upscale
from sfumato.pictures import load_recipe
from sfumato.request import Request

URL = "/sdapi/v1"


@pytest.fixture
def api(live: Live) -> webuiapi.WebUIApi:
    return webuiapi.WebUIApi(host="127.0.0.1", port=live.port)


def b64(pixels: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, "uint8")).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


def asked(live: Live) -> dict[str, Any]:
    return live.client.get("/v1/jobs?limit=1").json()["jobs"][0]["request"]


def post(live: Live, body: dict[str, Any], path: str = "txt2img") -> dict[str, Any]:
    answer = live.client.post(f"{URL}/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


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
    found = asked(live)
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
        found = asked(live)
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
    assert asked(live)["model"] == "other"
    post(live, body | {"override_settings": {"sd_model_checkpoint": "fake"}})
    assert asked(live)["model"] == "fake"
    post(live, body | {"model": "fake"})
    assert asked(live)["model"] == "fake"
    answer = live.client.post(f"{URL}/options", json={"sd_model_checkpoint": "none such"})
    assert answer.status_code == 400


# The bodies that clients send, by the section of the list of clients.
SILLY = {
    "url": "http://127.0.0.1:7860",
    "auth": "user:password",
    "prompt": "x",
    "negative_prompt": "",
    "sampler_name": "DDIM",
    "scheduler": "normal",
    "steps": 20,
    "cfg_scale": 7,
    "width": 512,
    "height": 512,
    "restore_faces": False,
    "enable_hr": False,
    "hr_upscaler": "Latent",
    "hr_scale": 1,
    "hr_additional_modules": [],
    "denoising_strength": 0.7,
    "hr_second_pass_steps": 0,
    "override_settings": {"CLIP_stop_at_last_layers": 1, "forge_additional_modules": ["x"]},
    "override_settings_restore_afterwards": True,
    "clip_skip": 1,
    "save_images": True,
    "send_images": True,
    "do_not_save_grid": False,
    "do_not_save_samples": False,
    "alwayson_scripts": {"ADetailer": {"args": [True, True, {"ad_model": "face_yolov8n.pt"}]}},
}
KOBOLD = {
    "prompt": "x",
    "seed": -1,
    "sampler_name": "Euler a",
    "batch_size": 1,
    "n_iter": 1,
    "steps": 20,
    "cfg_scale": 7,
    "width": 64,
    "height": 64,
    "negative_prompt": "blue",
    "do_not_save_samples": True,
    "do_not_save_grid": True,
    "enable_hr": False,
    "eta": 0,
    "s_churn": 0,
    "s_tmax": 0,
    "s_tmin": 0,
    "s_noise": 1,
    "override_settings": {
        "sd_model_checkpoint": "fake",
        "eta_noise_seed_delta": 0,
        "CLIP_stop_at_last_layers": 1.0,
        "ddim_discretize": "uniform",
        "img2img_fix_steps": False,
        "sd_hypernetwork": "None",
        "inpainting_mask_weight": 1,
        "initial_noise_multiplier": 1,
        "comma_padding_backtrack": 20,
    },
}
BODIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Open WebUI": (
        {
            "prompt": "x",
            "batch_size": 1,
            "width": 512,
            "height": 512,
            "steps": 50,
            "negative_prompt": "blue",
        },
        {"steps": 50, "negative_prompt": "blue", "width": 512},
    ),
    "SillyTavern": (SILLY, {"sampler": "ddim", "schedule": "uniform", "guidance": 7.0}),
    "SillyTavern, sd.cpp": (
        {
            "prompt": "x",
            "width": 64,
            "height": 64,
            "steps": 4,
            "cfg_scale": 2,
            "seed": 3,
            "batch_size": 1,
            "sampler_name": "dpm++2m",
            "scheduler": "discrete",
            "clip_skip": 2,
        },
        {"sampler": "dpmpp_2m", "schedule": "uniform", "clip_skip": 2, "seed": 3},
    ),
    "LibreChat": (
        {
            "prompt": "x",
            "negative_prompt": "blue",
            "cfg_scale": 4.5,
            "steps": 22,
            "width": 1024,
            "height": 1024,
            "sampler_index": "DPM++ 2M Karras",
        },
        {"sampler": "dpmpp_2m", "schedule": "karras", "guidance": 4.5},
    ),
    "Kobold Lite": (KOBOLD, {"sampler": "euler_a", "sampler_options": {"eta": 0}}),
    "the shortest": ({"prompt": "x"}, {"steps": 50}),
    "a second pass": (
        {
            "prompt": "x",
            "steps": 8,
            "width": 16,
            "height": 16,
            "enable_hr": True,
            "hr_scale": 1.5,
            "hr_upscaler": "Latent (bicubic)",
            "hr_second_pass_steps": 5,
            "denoising_strength": 0.6,
        },
        {
            "upscale": 1.5,
            "upscaler": "latent_bicubic",
            "upscale_steps": 5,
            "upscale_strength": 0.6,
        },
    ),
    "a second pass without an upscaler": (
        {"prompt": "x", "steps": 8, "enable_hr": True, "hr_upscaler": "None"},
        {"upscaler": "lanczos"},
    ),
    "a second pass of few words": (
        {"prompt": "x", "steps": 8, "enable_hr": True, "hr_second_pass_steps": 0},
        {"upscale": 2.0, "upscaler": "latent", "upscale_steps": 8, "upscale_strength": 0.75},
    ),
    "a second pass to a size": (
        {"prompt": "x", "steps": 3, "width": 16, "height": 32}
        | {"enable_hr": True, "hr_resize_x": 24, "hr_resize_y": 48, "hr_upscaler": "ESRGAN"},
        {"upscale": 1.5, "upscaler": "esrgan"},
    ),
    "a second pass in sd.cpp's words": (
        {"prompt": "x", "steps": 3, "width": 16, "height": 16}
        | {"enable_hr": True, "hr_resize_x": 40, "hr_steps": 2, "hr_upscaler": "Nearest"},
        {"upscale": 2.5, "upscale_steps": 2, "upscaler": "nearest"},
    ),
    "sd.cpp's sampler with a schedule in its name": (
        {"prompt": "x", "sampler_name": "ddim_trailing", "scheduler": "discrete"},
        {"sampler": "ddim", "schedule": "trailing"},
    ),
    "sd.cpp's words in the prompt": (
        {
            "prompt": "x <sd_cpp_extra_args>"
            '{"seed": 9, "batch_count": 2, "clip_skip": -1, "lora": [{"path": "/etc/passwd"}], '
            '"sample_params": {"sample_steps": 6, "sample_method": "dpm++2m", '
            '"scheduler": "karras", "guidance": {"txt_cfg": 3.5}}, '
            '"hires": {"enabled": true, "scale": 2, "steps": 0, "upscaler": "Latent"}}'
            "</sd_cpp_extra_args>",
            "steps": 20,
        },
        {"prompt": "x", "seed": 9, "count": 2, "steps": 6, "sampler": "dpmpp_2m"}
        | {"schedule": "karras", "guidance": 3.5, "upscale": 2.0, "upscaler": "latent"},
    ),
    "all that A1111 has": (
        {
            "prompt": "x",
            "seed": 5,
            "subseed": 6,
            "subseed_strength": 0.25,
            "seed_resize_from_w": 32,
            "seed_resize_from_h": 24,
            "tiling": True,
            "sampler_index": "Euler",
            "scheduler": "Automatic",
            "styles": ["x"],
            "refiner_checkpoint": None,
        },
        {
            "variation_seed": 6,
            "variation_strength": 0.25,
            "seed_resize": [32, 24],
            "seamless": "both",
        },
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_recorded_bodies_get_what_their_clients_read(live: Live, name: str):
    body, expected = BODIES[name]
    for authorization in ("", "Basic Og==", "Basic dXNlcjpwYXNz"):
        headers = {"authorization": authorization}
        answer = live.client.post(f"{URL}/txt2img", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
    found = answer.json()
    size = (body.get("width", 16), body.get("height", 16))
    assert opened(found["images"][0]).size == size
    info = json.loads(found["info"])
    assert (info["width"], info["height"]) == size
    assert {type(info["seed"]), type(info["all_seeds"][0])} == {int}
    assert info["infotexts"][0].startswith("x\n")
    request = asked(live)
    assert {key: request[key] for key in expected} == expected
    assert "auth" not in json.dumps(found["parameters"])


def test_kobold_lite_paints_again(live: Live):
    picture = b64(np.full((30, 50, 3), 7))
    for image in (picture, f"data:image/png;base64,{picture}"):
        body = KOBOLD | {"init_images": [image], "denoising_strength": 0.6}
        assert opened(post(live, body, "img2img")["images"][0]).size == (64, 64)
        assert (asked(live)["strength"], asked(live)["resize"]) == (0.6, "stretch")


@pytest.mark.parametrize(("mode", "way"), [*enumerate(["stretch", "crop", "fill", "stretch"])])
def test_ways_to_resize(live: Live, mode: int, way: str):
    body = {"init_images": [b64(np.zeros((9, 7, 3)))], "resize_mode": mode, "steps": 3}
    post(live, {"prompt": "x", "width": 16, "height": 16} | body, "img2img")
    assert (asked(live)["resize"], asked(live)["strength"]) == (way, 0.75)


def test_masks_of_another_size_or_inverted(live: Live):
    mask = np.zeros((4, 4), "uint8")
    mask[:, :2] = 255
    body = {
        "prompt": "x",
        "steps": 3,
        "init_images": [b64(np.zeros((16, 16, 3)))],
        "width": 16,
        "height": 16,
        "mask": b64(mask),
        "inpaint_full_res": False,
    }
    for inverted in (0, 1):
        post(live, body | {"inpainting_mask_invert": inverted}, "img2img")
        name = asked(live)["mask"].removeprefix("upload:")
        kept = np.array(Image.open(io.BytesIO(live.client.get(f"/v1/uploads/{name}").content)))
        assert kept.shape == (16, 16)
        assert (kept[0, 0], kept[0, 15]) == ((0, 255) if inverted else (255, 0))
    assert asked(live)["mask_blur"] == 4


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("txt2img", {}),
        ("txt2img", {"prompt": "x", "sampler_name": "none such"}),
        ("txt2img", {"prompt": "x", "steps": "many"}),
        ("txt2img", {"prompt": "x", "batch_size": "2"}),
        ("txt2img", {"prompt": "x", "enable_hr": True, "hr_scale": 100}),
        ("txt2img", {"prompt": "x", "enable_hr": True, "hr_upscaler": "/etc/passwd"}),
        ("txt2img", {"prompt": "x", "batch_size": 1000}),
        ("txt2img", {"prompt": "x", "override_settings": {"sd_model_checkpoint": 5}}),
        ("txt2img", {"prompt": "x", "override_settings": {"sd_model_checkpoint": "/etc/passwd"}}),
        ("txt2img", {"prompt": "x <sd_cpp_extra_args>[1]</sd_cpp_extra_args>"}),
        ("txt2img", {"prompt": "x <sd_cpp_extra_args>{"}),
        ("txt2img", {"prompt": "x", "enable_hr": True, "hr_resize_x": 64}),
        (
            "txt2img",
            {"prompt": "x", "width": 16, "height": 16, "enable_hr": True}
            | {"hr_resize_x": 32, "hr_resize_y": 64},
        ),
        ("img2img", {"prompt": "x"}),
        ("img2img", {"prompt": "x", "init_images": "x"}),
        ("img2img", {"prompt": "x", "init_images": ["http://169.254.169.254/"]}),
        ("img2img", {"prompt": "x", "init_images": [5]}),
        ("img2img", {"prompt": "x", "init_images": ["AAAA"], "resize_mode": 9}),
        ("png-info", {}),
        ("png-info", {"image": "AAAA"}),
        ("extra-single-image", {"image": None}),
        ("extra-single-image", {"image": b64(np.zeros((8, 8, 3))), "upscaler_1": "/etc/passwd"}),
        ("extra-batch-images", {"imageList": 5}),
        ("options", {"sd_model_checkpoint": ["x"]}),
    ],
)
def test_errors_have_a_detail(live: Live, path: str, body: dict[str, Any]):
    answer = live.client.post(f"{URL}/{path}", json=body)
    assert answer.status_code == 400
    assert "`" in answer.json()["detail"]
    assert "images" not in answer.json()


def test_pictures_are_left_out_when_they_are_not_wanted(live: Live):
    body = {"prompt": "x", "steps": 2, "width": 16, "height": 16, "send_images": False}
    assert post(live, body)["images"] == []


def test_the_picture_carries_its_recipe(live: Live, tmp_path):
    text = post(live, {"prompt": "x", "seed": 3, "width": 16, "height": 16})["images"][0]
    path = tmp_path / "x.png"
    path.write_bytes(base64.b64decode(text))
    recipe = load_recipe(path)
    assert recipe is not None
    assert recipe.items["Steps"] == "50"


def test_a_path_that_is_not_there(live: Live):
    answer = live.client.get(f"{URL}/nothing-like-it")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_unsafe_pictures_are_blurred_on_request(live: Live):
    body = {"prompt": "a red apple", "steps": 1, "safety": "blur"}
    answer = live.client.post("/sdapi/v1/txt2img", json=body).json()
    assert "Safety: blur" in json.loads(answer["info"])["infotexts"][0]
