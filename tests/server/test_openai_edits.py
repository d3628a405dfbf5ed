"""Edits and variations of OpenAI's API, judged by its own client and by recorded bodies."""

from __future__ import annotations

import base64
import io
import json
import warnings
from functools import partial

import numpy as np
import openai
import pytest
from fake_painters import Live
from openai_calls import picture, png
from PIL import Image

PICTURE = np.full((16, 24, 3), 90)


def masked(sees: int = 0) -> np.ndarray:
    """A picture (16, 24, 4) whose left half is transparent."""
    pixels = np.full((16, 24, 4), 255)
    pixels[:, :12, 3] = sees
    return pixels


def upload(live: Live, name: str) -> np.ndarray:
    answer = live.client.get(f"/v1/uploads/{live.asked()[name].removeprefix('upload:')}")
    return np.array(Image.open(io.BytesIO(answer.content)))


def test_the_transparent_part_of_a_mask_is_painted(live: Live, client: openai.OpenAI):
    answer = client.images.edit(
        image=("x.png", png(PICTURE)),
        mask=("m.png", png(masked())),
        prompt="a cat",
        size="24x16",
        n=2,
        extra_body={"seed": 5, "steps": 2, "mask_blur": 1.5},
    )
    assert answer.data is not None
    assert [picture(each.b64_json).size for each in answer.data] == [(24, 16)] * 2
    mask = upload(live, "mask")
    assert (mask[:, :12].min(), mask[:, 12:].max()) == (255, 0)
    assert (upload(live, "image") == 90).all()
    found = live.asked()
    assert (found["steps"], found["mask_blur"], found["count"]) == (2, 1.5, 2)


def test_a_picture_may_be_its_own_mask(live: Live, client: openai.OpenAI):
    client.images.edit(image=("x.png", png(masked(100))), prompt="a cat")
    assert upload(live, "mask")[0, 0] == 155


def test_without_a_mask_all_is_painted_again(live: Live, client: openai.OpenAI):
    client.images.edit(image=("x.png", png(PICTURE)), prompt="a cat", extra_body={"strength": 0.4})
    found = live.asked()
    assert "mask" not in found
    assert (found["strength"], found["width"], found["height"]) == (0.4, 16, 16)


def test_the_size_of_a_picture_is_that_of_the_model_in_its_shape(live: Live):
    files = {"image": ("x.png", png(np.zeros((100, 400, 3))), "image/png")}
    answer = live.client.post("/v1/images/edits", data={"prompt": "x"}, files=files)
    assert answer.status_code == 200, answer.text
    assert picture(answer.json()["data"][0]["b64_json"]).size == (32, 8)


def test_open_webui_edits(live: Live):
    """Its form: text, and the picture as `image` or `image[]`."""
    data = {
        "model": "gpt-image-1",
        "prompt": "x",
        "n": "1",
        "size": "512x512",
        "background": "auto",
    }
    for name in ("image", "image[]"):
        files = [(name, ("0.png", png(PICTURE), "image/png"))]
        answer = live.client.post("/v1/images/edits", data=data, files=files)
        assert answer.status_code == 200, answer.text
        assert picture(answer.json()["data"][0]["b64_json"]).size == (512, 512)
    two = [("image[]", ("0.png", png(PICTURE), "image/png"))] * 2
    answer = live.client.post("/v1/images/edits", data=data, files=two)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "image")


def test_edits_in_json(live: Live):
    url = f"data:image/png;base64,{base64.b64encode(png(PICTURE)).decode()}"
    mask = f"data:image/png;base64,{base64.b64encode(png(masked())).decode()}"
    body = {"prompt": "x", "images": [{"image_url": url}], "mask": {"image_url": mask}}
    assert live.client.post("/v1/images/edits", json=body).status_code == 200
    body["images"] = [{"image_url": "http://169.254.169.254/x.png"}]
    answer = live.client.post("/v1/images/edits", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "image")


@pytest.mark.parametrize(
    ("files", "param"),
    [
        ({}, "image"),
        ({"image": b"no picture"}, "image"),
        ({"image": png(PICTURE), "mask": png(PICTURE)}, "mask"),
        ({"image": png(PICTURE), "mask": png(np.zeros((8, 8, 4)))}, "mask"),
        ({"image": png(PICTURE), "mask": b"no picture"}, "mask"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(live: Live, files: dict[str, bytes], param: str):
    sent = {name: ("x.png", content, "image/png") for name, content in files.items()}
    answer = live.client.post(
        "/v1/images/edits", data={"prompt": "x"}, files=sent or {"other": b"x"}
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_variations_begin_from_the_picture_without_words(live: Live, client: openai.OpenAI):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # OpenAI itself has given them up
        answer = client.images.create_variation(image=("x.png", png(PICTURE)), n=2, size="256x256")
    assert answer.data is not None
    assert len(answer.data) == 2
    assert live.asked()["prompt"] == ""
    assert live.asked()["image"].startswith("upload:")


def test_sd_cpps_fields_may_stand_in_the_prompt(live: Live, client: openai.OpenAI):
    block = {"seed": 9, "sample_params": {"sample_steps": 6, "guidance": {"txt_cfg": 3.5}}}
    block |= {"lora": [{"path": "x.safetensors"}], "width": -1, "batch_count": 2}
    prompt = f"a cat <sd_cpp_extra_args>{json.dumps(block)}</sd_cpp_extra_args>"
    for ask in (client.images.generate, partial(client.images.edit, image=png(PICTURE))):
        answer = ask(prompt=prompt, size="24x16")
        assert [picture(each.b64_json).size for each in answer.data or ()] == [(24, 16)] * 2
        found = live.asked()
        assert (found["prompt"], found["seed"], found["steps"]) == ("a cat", 9, 6)
        assert found["guidance"] == 3.5
        assert "loras" not in found
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt="x <sd_cpp_extra_args>no JSON</sd_cpp_extra_args>")
    assert caught.value.param == "prompt"


def test_the_words_of_a_form_stay_text(live: Live, client: openai.OpenAI):
    client.images.edit(image=("x.png", png(PICTURE)), prompt='{"a": 1}')
    assert json.loads(live.asked()["prompt"]) == {"a": 1}
    client.images.edit(image=("x.png", png(PICTURE)), prompt="42")
    assert live.asked()["prompt"] == "42"
