"""LoRAs, ControlNets and words of the server's folders: named by clients, never by path."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webuiapi
from fake_painters import Live
from PIL import Image

from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.pictures import files
from sfumato.pictures.pixels import to_data_url
from sfumato.request import Request
from sfumato.request.control import Control

PNG = {"Content-Type": "image/png"}
PIXEL = to_data_url(np.zeros((1, 1, 3), "uint8"))
ASK = {"prompt": "a cat-toy <lora:film:1>", "steps": 1, "seed": 5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A LoRA, a word and two ControlNets."""
    for name in ("loras", "words", "nets", "nets/depth"):
        (tmp_path / name).mkdir()
    rows = np.ones((2, 768), "float32")
    write_safetensors(tmp_path / "loras" / "film.safetensors", {"any": rows})
    write_safetensors(tmp_path / "words" / "cat-toy.safetensors", {"emb_params": rows})
    write_safetensors(tmp_path / "nets" / "edges.safetensors", {"any": rows})
    (tmp_path / "nets" / "depth" / "config.json").write_text("{}")
    write_safetensors(tmp_path / "elsewhere.safetensors", {"any": rows})
    return tmp_path


@pytest.fixture
def live(open_live: Callable[..., Live], folder: Path) -> Live:
    folders = {"loras": "loras", "embeddings": "words", "controls": "nets"}
    return open_live(max_controls=2, **{name: folder / each for name, each in folders.items()})


def painted(live: Live, path: str, **fields: Any) -> Request:
    """The request that reaches the painter."""
    seen: list[Request] = []
    live.studio.painter.trouble = seen.extend
    answer = live.client.post(path, json=ASK | fields)
    assert answer.is_success, answer.text
    if "id" in answer.json():
        job = live.studio.service.job(answer.json()["id"])
        assert job is not None
        assert job.wait(10)
        assert job.request.controls == job.request.image_prompts == ()  # it keeps no pictures
    return seen[0]


def test_a_lora_is_named_in_a_field_and_not_in_the_prompt(live: Live, folder: Path) -> None:
    file = str(folder / "loras" / "film.safetensors")
    request = painted(live, "/v1/jobs", loras=[["film", 0.5]])
    assert (request.loras, request.prompt) == (((file, 0.5),), ASK["prompt"])
    assert painted(live, "/v1/jobs").loras == ()
    request = painted(live, "/v1/jobs", loras=[["film", {"unet": 1, "text": 0}]])
    assert request.loras == ((file, (("text", 0.0), ("unet", 1.0))),)
    request = painted(live, "/sdapi/v1/txt2img", lora=[{"path": "film.safetensors"}])
    assert request.loras == ((file, 1.0),)


@pytest.mark.parametrize(
    "name", ["other", "../elsewhere", "elsewhere", "/etc/passwd", "film:1", ""]
)
def test_nothing_else_is_a_lora(live: Live, folder: Path, name: str) -> None:
    given = str(folder / "elsewhere") if name == "elsewhere" else name
    answer = live.client.post("/v1/jobs", json=ASK | {"loras": [[given, 1]]})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "loras"
    assert str(folder) not in answer.text.replace(given, "")
    answer = live.client.post("/v1/jobs", json=ASK | {"lora_folder": str(folder)})
    assert answer.status_code == 400


def test_learned_words_are_there_for_every_prompt(live: Live) -> None:
    request = painted(live, "/v1/jobs")
    assert [*request.embeddings] == ["cat-toy"]
    assert len(request.embeddings["cat-toy"]) == 2


def test_what_is_there_is_told_by_name(live: Live, folder: Path) -> None:
    capabilities = live.client.get("/v1/capabilities").json()
    assert (capabilities["loras"], capabilities["embeddings"]) == (["film"], ["cat-toy"])
    [lora] = live.client.get("/sdapi/v1/loras").json()
    assert (lora["name"], lora["alias"], lora["path"]) == ("film", "film", "film")
    loaded = live.client.get("/sdapi/v1/embeddings").json()["loaded"]
    assert (loaded["cat-toy"]["vectors"], loaded["cat-toy"]["shape"]) == (2, 768)
    painted(live, "/v1/jobs", loras=["film"])
    jobs = live.client.get("/v1/jobs")
    assert jobs.json()["jobs"][0]["request"]["loras"] == [["film", 1.0]]
    assert str(folder) not in jobs.text


def test_a_server_without_folders_has_none(open_live: Callable[..., Live]) -> None:
    live = open_live()
    assert live.client.get("/sdapi/v1/loras").json() == []
    for name, value in {"loras": ["film"], "controls": [{"file": "src"}]}.items():
        answer = live.client.post("/v1/jobs", json=ASK | {name: value})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


def test_a_controlnet_is_named_and_shown_a_picture(live: Live, folder: Path) -> None:
    """The picture is a data URL or an upload, as all others, and is kept as an upload."""
    pixels = np.full((16, 24, 3), 7, "uint8")
    sent = live.client.post("/v1/uploads", content=files.encode(pixels), headers=PNG).json()["id"]
    edges = {"file": "edges", "image": to_data_url(pixels), "weight": 0.5}
    depth = {"file": "depth", "image": sent}
    request = painted(live, "/v1/jobs", controls=[edges, depth], width=16, height=16)
    nets = [str(folder / "nets" / name) for name in ("edges.safetensors", "depth")]
    assert [each.file for each in request.controls] == nets
    assert all(np.array_equal(each.image, pixels) for each in request.controls)
    assert request.controls[0].weight == 0.5
    capabilities = live.client.get("/v1/capabilities").json()
    assert capabilities["controls"] == ["depth", "edges"]
    assert capabilities["image_prompts"] == ["edges"]  # no folders

    [job] = live.client.get("/v1/jobs").json()["jobs"]
    assert job["request"]["controls"] == [{**edges, "image": sent}, depth]
    [picture] = job["pictures"]
    assert picture["request"]["controls"] == job["request"]["controls"]
    assert str(folder) not in json.dumps(job)
    again = live.client.post("/v1/jobs", json=job["request"])
    assert again.status_code == 202

    facts = live.client.post("/v1/recipes", json={"recipe": picture["recipe"]}).json()
    assert "controls" not in facts["request"]  # their pictures are not there
    without = [{"file": "edges", "weight": 0.5}, {"file": "depth"}]
    assert facts["without_pictures"] == {"controls": without}
    assert not any(key.startswith("ControlNet") for key in facts["unread"])


def test_a_picture_as_a_prompt(live: Live, folder: Path) -> None:
    """With an IP-Adapter of the same folder, by name."""
    pixels = np.full((16, 24, 3), 7, "uint8")
    given = {"file": "edges", "image": to_data_url(pixels), "weight": 0.5}
    [prompt] = painted(live, "/v1/jobs", image_prompts=[given]).image_prompts
    assert prompt.file == str(folder / "nets" / "edges.safetensors")
    assert (prompt.weight, prompt.encoder) == (0.5, None)
    assert np.array_equal(prompt.image, pixels)

    [job] = live.client.get("/v1/jobs").json()["jobs"]
    [told] = job["request"]["image_prompts"]
    assert told["image"].startswith("upload:")
    [picture] = job["pictures"]
    assert picture["request"]["image_prompts"] == [told]
    assert str(folder) not in json.dumps(job)
    facts = live.client.post("/v1/recipes", json={"recipe": picture["recipe"]}).json()
    assert "image_prompts" not in facts["request"]
    without = [{"file": "edges", "weight": 0.5}]
    assert facts["without_pictures"] == {"image_prompts": without}


def test_pictures_as_prompts_that_cannot_be(live: Live, folder: Path) -> None:
    good = {"file": "edges", "image": PIXEL}
    for prompts, words in (
        ([good | {"file": "other"}], "be names that this server lists"),
        ([good | {"file": "depth"}], "be names that this server lists"),  # a folder
        ([good | {"file": "/etc/passwd"}], "file"),
        ([good | {"encoder": "image_encoder"}], "encoder"),
        ([good | {"image": "photo.png"}], "picture in base64"),
        ([{"file": "edges"}], "have a picture each. Received: edges"),
        ([good] * 3, "at most 2 on this server"),
        ("edges", "be IP-Adapters"),
    ):
        answer = live.client.post("/v1/jobs", json=ASK | {"image_prompts": prompts})
        assert answer.status_code == 400
        assert words in answer.json()["error"]["message"]
        assert str(folder) not in answer.text


def test_nothing_else_is_a_controlnet(live: Live, folder: Path) -> None:
    elsewhere = str(folder / "elsewhere.safetensors")
    image = to_data_url(np.zeros((16, 16, 3), "uint8"))
    for file in ("other", "../elsewhere", elsewhere, "edges.safetensors", "", 1):
        for values in ({"file": file}, {"file": file, "image": image}):
            answer = live.client.post("/v1/jobs", json=ASK | {"controls": [values]})
            assert answer.status_code == 400, file
            assert str(folder) not in answer.text.replace(elsewhere, "")
    answer = live.client.post("/v1/jobs", json=ASK | {"control_folder": str(folder)})
    assert answer.status_code == 400


def test_controlnets_that_cannot_be(live: Live, folder: Path) -> None:
    for controls, words in (
        ([{"file": "edges"}] * 3, "at most 2 on this server"),
        ([{"file": "edges", "image": "photo.png"}], "picture in base64"),
        ([{"file": "edges", "image": "upload:../../x"}], "id of what is here"),
        ([{"file": "edges"}], "a picture each"),
        ([{"file": "edges", "image": PIXEL, "start": 1}], "start before they end"),
        (["edges"], "objects of JSON"),
        ({"file": "edges"}, "be ControlNets"),
        ("edges", "be ControlNets"),
    ):
        answer = live.client.post("/v1/jobs", json=ASK | {"controls": controls})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "controls"
        assert words in answer.json()["error"]["message"]
        assert str(folder) not in answer.text


def test_a_client_of_a1111_names_controlnets(live: Live, folder: Path) -> None:
    api = webuiapi.WebUIApi(host="127.0.0.1", port=live.port)
    assert api.controlnet_model_list() == ["depth", "edges"]
    assert "canny" in api.controlnet_module_list()
    picture = Image.new("RGB", (24, 16), (7, 7, 7))
    unit = webuiapi.ControlNetUnit(picture, module="canny", model="edges [d14c016b]", weight=0.5)
    off = webuiapi.ControlNetUnit(picture, model="elsewhere", enabled=False)
    seen: list[Request] = []
    live.studio.painter.trouble = seen.extend
    api.txt2img(prompt="x", steps=1, width=16, height=16, controlnet_units=[unit, off])
    [control] = seen[0].controls
    assert control == Control(
        file=str(folder / "nets" / "edges.safetensors"),
        image=picture,
        preprocessor="canny",
        weight=0.5,
        resize="fill",
    )


def test_units_that_cannot_be(live: Live) -> None:
    for unit, name in (
        ({"model": "edges", "module": "openpose_full"}, "preprocessor"),
        ({"model": "edges", "control_mode": 7}, "mode"),
        ({"model": "None"}, "controls"),
        ({"model": "elsewhere", "image": PIXEL}, "controls"),
        ({"model": "edges"}, "controls"),
        (7, "controls"),
    ):
        body = ASK | {"alwayson_scripts": {"ControlNet": {"args": [unit]}}}
        answer = live.client.post("/sdapi/v1/txt2img", json=body)
        assert answer.status_code == 400
        assert f"`{name}` must" in answer.text
