"""The embeddings of a request: from a folder, from files, in JSON and in a recipe."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfumato.adapters.embedding import Embedding
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.pictures import Recipe
from sfumato.request import Request, RequestError

WORD = np.arange(6, dtype="float32").reshape(2, 3)
ROWS = base64.b64encode(WORD.tobytes()).decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("easy", "Bad"):
        write_safetensors(tmp_path / f"{name}.safetensors", {"emb_params": WORD})
    return tmp_path


def test_a_folder_a_file_and_files_by_name(folder: Path) -> None:
    easy = folder / "easy.safetensors"
    every = Request(prompt="a", embeddings=folder).embeddings
    assert [*every] == ["Bad", "easy"]  # in the order of A1111
    assert [*Request(prompt="a", embeddings=str(easy)).embeddings] == ["easy"]
    mine = Request(prompt="a", embeddings={"<mine>": easy, "other": every["Bad"]})
    assert mine.embeddings == {"<mine>": every["easy"], "other": every["Bad"]}


def test_files_that_are_none_are_left_out_and_named(folder: Path) -> None:
    (folder / "broken.pt").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"Not used as embeddings: broken.pt.*is empty"):
        assert len(Request(prompt="a", embeddings=folder).embeddings) == 2
    with pytest.raises(RequestError, match=r"`embeddings` must be a folder.*is empty"):
        Request(prompt="a", embeddings={"broken": folder / "broken.pt"})


@pytest.mark.parametrize("value", ["nowhere", 7, {"a": 7}, {"a": "nowhere.pt"}, {1: "a.pt"}])
def test_no_embeddings(value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match="`embeddings` must be a folder"):
        Request(prompt="a", embeddings=value)


@pytest.mark.parametrize(
    "value",
    [
        "words",
        {"easy": "easy.safetensors"},
        {"easy": {"count": 2, "digest": "", "vectors": []}},
        {"easy": {"count": 4, "digest": "", "vectors": [ROWS]}},
        {"easy": {"count": 2, "digest": "", "vectors": ["!"]}},
        {"easy": {"count": 1, "digest": "", "vectors": [base64.b64encode(b"\xff" * 8).decode()]}},
    ],
    ids=range(6),
)
def test_json_names_no_files(value: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(RequestError, match="`embeddings` must be"):
        Request.from_json({"prompt": "a", "embeddings": value})


def test_a_recipe_tells_whether_they_are_the_same(folder: Path) -> None:
    asked = Request(prompt="a", embeddings=folder)
    items = asked.recipe().items
    digest = asked.embeddings["easy"].digest[:12]
    assert items["TI hashes"] == f"Bad: {digest}, easy: {digest}"
    assert Request.from_recipe(Recipe("a", items=items), embeddings=folder) == asked
    others = {"easy": Embedding((WORD,), "0" * 64)}
    with pytest.warns(UserWarning, match="not those of the recipe: Bad, easy"):
        Request.from_recipe(Recipe("a", items=items), embeddings=others)
    assert Request.from_recipe(Recipe("a", items=items)).embeddings == {}
