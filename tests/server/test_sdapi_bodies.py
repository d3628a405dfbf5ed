"""A1111's API, judged by the recorded bodies of its clients, and what it refuses."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from fake_painters import Live
from PIL import Image
from sdapi_calls import URL, b64, opened, post

from sfumato.pictures import load_recipe

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
    request = live.asked()
    assert {key: request[key] for key in expected} == expected
    assert "auth" not in json.dumps(found["parameters"])


def test_kobold_lite_paints_again(live: Live):
    picture = b64(np.full((30, 50, 3), 7))
    for image in (picture, f"data:image/png;base64,{picture}"):
        body = KOBOLD | {"init_images": [image], "denoising_strength": 0.6}
        assert opened(post(live, body, "img2img")["images"][0]).size == (64, 64)
        assert (live.asked()["strength"], live.asked()["resize"]) == (0.6, "stretch")


@pytest.mark.parametrize(("mode", "way"), [*enumerate(["stretch", "crop", "fill", "stretch"])])
def test_ways_to_resize(live: Live, mode: int, way: str):
    body = {"init_images": [b64(np.zeros((9, 7, 3)))], "resize_mode": mode, "steps": 3}
    post(live, {"prompt": "x", "width": 16, "height": 16} | body, "img2img")
    assert (live.asked()["resize"], live.asked()["strength"]) == (way, 0.75)


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
        name = live.asked()["mask"].removeprefix("upload:")
        kept = np.array(Image.open(io.BytesIO(live.client.get(f"/v1/uploads/{name}").content)))
        assert kept.shape == (16, 16)
        assert (kept[0, 0], kept[0, 15]) == ((0, 255) if inverted else (255, 0))
    assert live.asked()["mask_blur"] == 4


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
