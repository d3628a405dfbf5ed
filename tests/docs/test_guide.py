"""The guides and the code in pages run, on the bundled model; what is made of them is current."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from sfumato import StableDiffusion, presets
from sfumato.pictures import save

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = ("guide", "random_walks")
SIZE = presets.PRESETS["mini"].size


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_guide = load("make_guide")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is written goes to a temporary folder, and Keras keeps its policy."""
    monkeypatch.chdir(tmp_path)
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


def source(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


# It is seen that they run, not how well the model draws.
QUICKLY = """
from dataclasses import replace
from sfumato.presets import PRESETS
PRESETS["mini"] = replace(PRESETS["mini"], steps=10)
"""


@pytest.mark.slow
def test_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presets.PRESETS, "mini", presets.PRESETS["mini"])
    exec(QUICKLY, {})
    text = source("guide.py")
    # One operation after the other, each is compiled by itself: a minute for what the tests of
    # the pipeline have covered.
    text = text.replace("jit_compile=False", "jit_compile=True")
    text = text.replace("STEPS = 10", "STEPS = 2")
    (tmp_path / "images").mkdir()
    page = make_guide.make_page("guide", make_guide.read_cells(text), tmp_path / "images")
    assert f"(3, {SIZE}, {SIZE}, 3) uint8" in page
    assert re.search(r"(\d+)/\1 ", page)  # the progress bar
    assert "computes in float16\nkeeps its weights in float32" in page
    levels = re.search(r"in the batch: (\d+) levels of 255 apart", page)
    assert levels
    assert int(levels[1]) <= 1
    assert "outside the mask: 0 levels of 255 apart" in page
    table = re.findall(r"^(Standard|Mixed precision|XLA|XLA \+ mixed precision) +\d", page, re.M)
    assert table == ["Standard", "Mixed precision", "XLA", "XLA + mixed precision"]
    assert (tmp_path / "outputs" / "frog.png").is_file()
    with Image.open(tmp_path / "outputs" / "apple-to-balloon.webp") as film:
        assert film.n_frames == 22
    pictures = [tmp_path / link for link in re.findall(r"\]\((images/.*?)\)", page)]
    assert len(pictures) >= 9
    assert all(path.is_file() for path in pictures)


@pytest.mark.slow
def test_the_guide_runs_on_openvino(tmp_path: Path) -> None:
    """On the backend that a computer without an accelerator gets."""
    (tmp_path / "guide.py").write_text(QUICKLY + source("guide.py"), "utf-8")
    command = [sys.executable, "guide.py"]
    environment = os.environ | {"KERAS_BACKEND": "openvino"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "steps; openvino on cpu" in done.stdout
    assert "outside the mask: 0 levels of 255 apart" in done.stdout
    assert (tmp_path / "outputs" / "frog.png").is_file()


@pytest.mark.slow
def test_the_random_walks_run(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    text = source("random_walks.py")
    assert "steps=15" in text
    cells = make_guide.read_cells(text.replace("steps=15", "steps=3"))
    page = make_guide.make_page("random_walks", cells, tmp_path / "images")
    on_circle, between = map(float, re.findall(r"variance .*: ([\d.]+)", page))
    assert abs(on_circle - 1) < 0.2
    assert abs(between - 0.5) < 0.1
    films = ("lemon-to-strawberry", "hearts", "stroll", "both")
    for name in films:
        with Image.open(tmp_path / "outputs" / f"{name}.webp") as film:
            assert film.n_frames >= 16


def blocks(name: str) -> list[str]:
    """The pieces of Python code of a page."""
    return re.findall(r"^```python\n(.*?)^```", source(name), re.M | re.S)


def test_the_first_lines_of_the_readme_make_a_picture() -> None:
    exec(blocks("../README.md")[0], {})
    with Image.open("apple.png") as picture:
        assert picture.size == (SIZE, SIZE)


@pytest.mark.slow
def test_training_trains_what_the_denoiser_is_asked(tmp_path: Path) -> None:
    captions = ["a red apple", "a yellow lemon", "a blue balloon", "a green tree"]
    (tmp_path / "pictures").mkdir()
    painter = StableDiffusion.from_preset("mini")
    for caption in captions:
        (picture,) = painter.text_to_image(caption, seed=1, verbose=False)
        save(tmp_path / "pictures" / f"{caption}.png", picture)
        (tmp_path / "pictures" / f"{caption}.txt").write_text(f"{caption}\n", "utf-8")
    code = "\n".join(blocks("training.md"))
    assert "steps_per_epoch=1000" in code
    names: dict[str, Any] = {}
    exec(code.replace("steps_per_epoch=1000", "steps_per_epoch=1"), names)
    assert names["pictures"][0].pixels.shape == (SIZE, SIZE, 3)

    trained, before = names["unet"], StableDiffusion.from_preset("mini").diffusion_model
    pairs = zip(trained.weights, before.weights, strict=True)
    assert any(np.any(np.array(a) != np.array(b)) for a, b in pairs)
    kept = StableDiffusion.from_preset("my-model")
    assert kept.model.prediction == names["model"].model.prediction
    assert kept.model.noise == names["model"].model.noise
    for a, b in zip(trained.weights, kept.diffusion_model.weights, strict=True):
        assert np.allclose(a, b, rtol=1e-3, atol=1e-6)  # float16
    # It knows its own pictures, if it is asked in the way it has learnt.
    inputs, answers = next(names["batches"](32))
    errors = np.square(trained.predict_on_batch(inputs) - answers)
    assert errors.mean() < 0.5 * np.square(answers).mean()


def test_the_algorithm_by_hand_is_the_library() -> None:
    names: dict[str, Any] = {}
    exec("\n".join(blocks("algorithm.md")), names)  # ends in a comparison of its own
    assert names["by_hand"].std() > 1
    if keras.backend.backend() == "jax":
        assert names["difference"].max() <= 2
    assert names["decoded"].shape == names["picture"].shape
    assert names["context"].shape[:2] == (1, 77)
    assert names["sigmas"][-1] == 0


@pytest.mark.parametrize("page", ["samplers.md", "faster.md", "prompts.md", "pictures.md"])
def test_the_code_of_other_pages_runs(page: str) -> None:
    names: dict[str, Any] = {}
    exec("\n".join(blocks(page)), names)
    assert isinstance(names["model"], StableDiffusion)


def test_code_for_kerascv_runs_with_its_imports_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(StableDiffusion, "default_preset", "mini")
    code = "\n".join(blocks("migrating.md")).replace("512", str(SIZE))
    names: dict[str, Any] = {}
    exec(code, names)
    shown = capsys.readouterr().out
    assert re.search(r"(\d+)/\1", shown)  # the progress bar
    assert "float16 float32" in shown
    assert names["images"].shape == (3, SIZE, SIZE, 3)
    assert names["encoded"].dtype == np.float32

    # The rest of what the predecessor's guide and examples call.
    sd = names["model"]
    c = sd.decoder.config.latent_channels
    noise = keras.random.normal((8, 8, c), seed=12)
    squeezed = keras.ops.squeeze(names["encoded"])
    walk = keras.ops.linspace(squeezed, 0.9 * squeezed, 3)
    pictures = sd.generate_image(walk, batch_size=3, num_steps=5, diffusion_noise=noise)
    assert pictures.shape == (3, SIZE, SIZE, 3)
    with pytest.raises(ValueError, match="diffusion_noise"):
        sd.generate_image(squeezed, diffusion_noise=noise, seed=1337)
    assert sd.tokenizer.encode("a")[-1] == sd.tokenizer.end_of_text
    sd.diffusion_model.save_weights("unet.weights.h5")
    sd.diffusion_model.load_weights("unet.weights.h5")


@pytest.mark.parametrize("name", GUIDES)
def test_notebooks_and_pages_are_made_from_their_scripts(name: str) -> None:
    cells = make_guide.read_cells((DOCS / f"{name}.py").read_text("utf-8"))
    notebook = (DOCS / f"{name}.ipynb").read_text("utf-8")
    assert notebook == make_guide.make_notebook(cells), "run docs/make_guide.py"
    shown = ["".join(cell["source"]) for cell in json.loads(notebook)["cells"]]
    assert shown == [cell.text for cell in cells]
    page = (DOCS / f"{name}.md").read_text("utf-8")
    missing = [cell.text for cell in cells if cell.text not in page]
    assert missing == [], "run docs/make_guide.py --run"


def test_readable_output_is_what_a_terminal_shows() -> None:
    printed = "\x1b[1m 1/2\x1b[0m ━ 1s\b\b\b\b\b\b\b\b\b\r\x1b[1m2/2\x1b[0m ━ 2s\ndone\n"
    assert make_guide.readable(printed) == "2/2 ━ 2s\ndone"


def test_the_pictures_are_there_and_small() -> None:
    shown = {
        link
        for page in DOCS.glob("*.md")
        for link in re.findall(r"!\[[^\]]*\]\((images/[^)]+)\)", page.read_text("utf-8"))
    }
    assert {link for link in shown if not (DOCS / link).is_file()} == set()
    ours = [
        path
        for path in (DOCS / "images").iterdir()
        if path.stem.startswith(("algorithm-", "prompts-", *(f"{guide}-" for guide in GUIDES)))
    ]
    assert {f"images/{path.name}" for path in ours} <= shown
    assert sum(path.stat().st_size for path in ours) < 600_000
