"""LoRAs as a field: files, names and tags; strangers name no file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from fake_models import FakeSettings
from sfumato.pictures.recipe import read_text, write_text
from sfumato.request import Request, RequestError
from sfumato.request.fields import read, specs
from sfumato.request.words import drawn

MODEL: Any = FakeSettings()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "more").mkdir()
    for name in ("film", "more/ink"):
        (tmp_path / f"{name}.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}" + b"x")
    (tmp_path / "notes.txt").write_text("no LoRA")
    return tmp_path


def asked(**fields: Any) -> Request:
    return Request(**{"prompt": "a cat", **fields}).completed(MODEL)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("a.safetensors", ("a.safetensors", 1.0)),
        ("a.safetensors:0.8", ("a.safetensors", 0.8)),
        ("a:-1", ("a", -1.0)),
        (r"C:\a.safetensors", (r"C:\a.safetensors", 1.0)),
        (r"C:\loras\a.safetensors:0.5", (r"C:\loras\a.safetensors", 0.5)),
        ("a:unet=0.8,text=0", ("a", (("text", 0.0), ("unet", 0.8)))),
    ],
)
def test_words_of_the_command_line(text: str, pair: tuple[str, Any]) -> None:
    assert read("loras", specs(Request)["loras"], text) == (pair,)


@pytest.mark.parametrize(
    "value", [3, [3], [("a", "b")], [("a", float("nan"))], [("", 1)], [("a", {})], [("a", {1: 1})]]
)
def test_what_is_no_lora_is_refused(value: Any) -> None:
    with pytest.raises(RequestError, match="`loras` must be LoRA files"):
        Request(prompt="x", loras=value)


def test_files_and_names_of_a_folder(folder: Path) -> None:
    film, ink = str(folder / "film.safetensors"), str(folder / "more" / "ink.safetensors")
    assert asked(loras=[(film, 0.5)]).loras == ((film, 0.5),)
    found = asked(loras=["film", ("more/ink", {"unet": 0.2})], lora_folder=folder).loras
    assert found == ((film, 1.0), (ink, (("unet", 0.2),)))
    for name in ("film", str(folder / "gone.safetensors")):
        with pytest.raises(RequestError, match="`loras` must be files"):
            asked(loras=[name])
    with pytest.raises(RequestError, match="`lora_folder` must be a folder"):
        asked(lora_folder=folder / "none")


def test_tags_count_only_with_a_folder(folder: Path) -> None:
    prompt = "a <lora:film:0.8> cat <lora:ink:0.5:0.2>"
    assert drawn(asked(prompt=prompt)).prompt == prompt
    plain = asked(prompt=prompt, prompt_syntax="plain", lora_folder=folder)
    assert drawn(plain).prompt == prompt

    single = drawn(asked(prompt=prompt, lora_folder=folder))
    assert single.prompt == "a cat"
    weights = {Path(name).stem: weight for name, weight in single.loras}
    assert weights == {"film": 0.8, "ink": (("text", 0.5), ("unet", 0.2))}


def test_tags_may_be_drawn(folder: Path) -> None:
    request = asked(prompt="{<lora:film:1>|<lora:ink:1>} cat", lora_folder=folder, count=20, seed=1)
    names = {Path(single.loras[0][0]).stem for single in request.singles()}
    assert names == {"film", "ink"}
    assert {single.prompt for single in request.singles()} == {"cat"}
    assert len({single.batch_key for single in request.singles()}) == 1


@pytest.mark.parametrize("tag", ["gone:1", "../film:1", "film:x", "film:dyn=2", "film:1:1:3"])
def test_tags_of_what_is_not_there_are_refused(folder: Path, tag: str) -> None:
    with pytest.raises(RequestError):
        asked(prompt=f"<lora:{tag}>", lora_folder=folder / "more" if "film:" in tag else folder)


def test_json_names_no_file(folder: Path) -> None:
    request = Request(prompt="x", loras=[("film", 0.5), ("more", {"unet": 1})])
    assert Request.from_json(request.to_json()) == request
    for name in (str(folder / "film.safetensors"), "film.safetensors", "../film", ".film"):
        with pytest.raises(RequestError, match="`loras` must"):
            Request.from_json({"prompt": "x", "loras": [[name, 1]]})
    with pytest.raises(RequestError, match="`lora_folder` must"):
        Request.from_json({"prompt": "x", "lora_folder": str(folder)})
    told = asked(loras=[folder / "film.safetensors"], lora_folder=folder).to_json()
    assert (told["loras"], "lora_folder" in told) == ([["film", 1.0]], False)


def test_the_recipe_names_them_with_a1111s_hashes(folder: Path) -> None:
    loras = [(folder / "film.safetensors", 0.5), ("ink", {"unet": 0.2, "text": 1})]
    request = asked(loras=loras, lora_folder=folder)
    recipe = request.recipe()
    short = hashlib.sha256(b"x").hexdigest()[:12]
    assert recipe.items["Lora hashes"] == f"film: {short}, ink: {short}"
    assert str(folder) not in write_text(recipe)

    back = read_text(write_text(recipe))
    assert back is not None
    again = Request.from_recipe(back, lora_folder=folder, model=None).completed(MODEL)
    assert again.loras == request.loras
    with pytest.raises(RequestError, match="`loras` must be files"):
        Request.from_recipe(back, model=None).completed(MODEL)

    (folder / "film.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}" + b"another")
    with pytest.warns(UserWarning, match="The LoRA film is not the one of the recipe"):
        Request.from_recipe(back, lora_folder=folder, model=None)


def test_a_recipe_names_no_file(folder: Path) -> None:
    """Names with folders and endings are those of files in the user's own folder."""
    file = folder / "film.safetensors"
    recipe = read_text(f"x\nSteps: 2, Seed: 1, Loras: {file}:1|more/ink.pt:0.5, Version: 1")
    assert recipe is not None
    request = Request.from_recipe(recipe)
    assert request.loras == (("film", 1.0), ("ink", 0.5))
    with pytest.raises(RequestError, match="`loras` must be files, or names of files in"):
        request.completed(MODEL)
    assert len(Request.from_recipe(recipe, lora_folder=folder).completed(MODEL).loras) == 2
    assert Request.from_recipe(recipe, loras=()).completed(MODEL).loras == ()
