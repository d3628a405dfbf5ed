"""LoRAs and learned words of the server's folders: named by clients, never by path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_painters import Live

from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.request import Request

ASK = {"prompt": "a cat-toy <lora:film:1>", "steps": 1, "seed": 5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A LoRA and a word."""
    for name in ("loras", "words"):
        (tmp_path / name).mkdir()
    rows = np.ones((2, 768), "float32")
    write_safetensors(tmp_path / "loras" / "film.safetensors", {"any": rows})
    write_safetensors(tmp_path / "words" / "cat-toy.safetensors", {"emb_params": rows})
    write_safetensors(tmp_path / "elsewhere.safetensors", {"any": rows})
    return tmp_path


@pytest.fixture
def live(open_live: Callable[..., Live], folder: Path) -> Live:
    return open_live(loras=folder / "loras", embeddings=folder / "words")


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
    answer = live.client.post("/v1/jobs", json=ASK | {"loras": ["film"]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "loras")
