"""`sfumato models` on a cache of the Hub that looks like one, without a network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import tiny_model
from sfumato import presets
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.checkpoints.save import file_shapes
from sfumato.cli.models import in_words
from sfumato.networks.unet import UNet as UNetNetwork

COMMIT = "0" * 40
CONFIG = b'{"unet": ["diffusers", "UNet2DConditionModel"]}'
UNET = "unet/diffusion_pytorch_model.fp16.safetensors"
WEIGHTS = b"pretend that this is a U-Net" * 1000


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache; `add` puts a preset's repository into it."""
    from huggingface_hub import constants

    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


def add(cache: Path, name: str) -> Path:
    """A preset's repository in the cache."""
    preset = presets.PRESETS[name]
    commit = preset.revision if len(preset.revision) == 40 else COMMIT
    return store(cache, preset.repository, commit, {"model_index.json": CONFIG, UNET: WEIGHTS})


def store(cache: Path, name: str, commit: str, files: dict[str, bytes]) -> Path:
    """A repository as the Hub's client stores what was asked for: content by hash, names as links.

    Beside it the client keeps what else the repository has.
    """
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    for name, content in files.items():
        git = name.endswith(".json")
        text = b"blob %d\0" % len(content) + content if git else content
        blob = repository / "blobs" / (hashlib.sha1 if git else hashlib.sha256)(text).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(blob)
    tree = {name: {"size": 1, "blob_id": COMMIT} for name in (*files, "README.md")}
    for file, text in (
        ("refs/main", commit),
        (f"trees/{commit}.json", json.dumps({"format_version": 1, "files": tree})),
    ):
        (repository / file).parent.mkdir()
        (repository / file).write_text(text)
    return snapshot


def test_ls_tells_what_there_is_and_what_is_here(sfumato, cache):
    add(cache, "sd1.5")
    done = sfumato("models", "ls")
    assert (done.code, done.err) == (0, "")
    _, *rows = done.lines
    assert [row.split()[0] for row in rows] == list(presets.PRESETS)
    assert all(preset.license in done.out for preset in presets.PRESETS.values())
    (here,) = (row for row in rows if row.startswith("sd1.5 "))
    assert "28 KB" in here


def test_a_preset_that_is_a_lora_is_fetched_with_its_model(sfumato, cache):
    preset = presets.PRESETS["lcm-sd1.5"]
    store(cache, preset.repository, preset.revision, {preset.file: WEIGHTS})
    done = sfumato("models", "pull", preset.name)
    assert (done.code, "stable-diffusion-v1-5" in done.err) == (1, True)
    add(cache, "sd1.5")
    assert sfumato("models", "pull", preset.name).code == 0
    assert "intact" in sfumato("models", "verify", preset.name).out


def test_ls_as_json(sfumato, cache):
    snapshot = add(cache, "sd1.5")
    here, missing = map(json.loads, sfumato("models", "ls", "SD-1.5", "sd2.1", "--json").lines)
    assert (here["name"], here["path"], here["bytes"]) == ("sd1.5", str(snapshot), 28_047)
    assert (missing["path"], missing["bytes"]) == (None, 0)
    assert missing["size"] == 768


def test_ls_takes_any_repository(sfumato, cache):
    entry = json.loads(sfumato("models", "ls", "someone/something@v2", "--json").out)
    assert (entry["repository"], entry["revision"]) == ("someone/something", "v2")


def test_pull_says_where_it_is(sfumato, cache):
    snapshot = add(cache, "sd1.5")
    assert sfumato("models", "pull", "sd1.5").lines == [f"sd1.5: {snapshot}"]


def test_pull_without_a_network_names_the_files_and_the_way_out(sfumato, cache):
    done = sfumato("models", "pull", "sd1.4")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    for words in ("sd1.4", UNET, str(cache), "mini"):
        assert words in done.err


def test_verify_finds_nothing_wrong(sfumato, cache):
    add(cache, "sd1.5")
    assert sfumato("models", "verify", "sd1.5").lines == ["sd1.5: intact"]


@pytest.mark.parametrize("name", ["model_index.json", UNET])
def test_verify_names_what_is_damaged(sfumato, cache, name):
    file = add(cache, "sd1.5") / name
    content = bytearray(file.read_bytes())
    content[-3] ^= 32
    file.resolve().write_bytes(content)
    done = sfumato("models", "verify", "sd1.5")
    assert done.code == 1
    assert f"damaged: {name} (" in done.err


def test_verify_all_passes_over_what_is_not_here(sfumato, cache):
    add(cache, "sd1.5")
    add(cache, "bk-sdm-tiny")  # its revision is a branch
    done = sfumato("models", "verify")
    assert done.code == 0
    assert [line for line in done.lines if not line.startswith("mini")] == [
        "sd1.5: intact",
        "bk-sdm-tiny: intact",
    ]


def test_verify_by_name_fails_for_what_is_not_here(sfumato, cache):
    done = sfumato("models", "verify", "sd1.5")
    assert (done.code, done.err) == (1, "sfumato: error: sd1.5: is not here\n")


def test_verify_tells_what_is_not_complete(sfumato, cache):
    (add(cache, "sd1.5") / UNET).unlink()
    done = sfumato("models", "verify")
    assert done.code == 1
    assert "sd1.5: is not complete (`models pull`)" in done.err
    assert sfumato("models", "rm", "sd1.5").code == 0


def test_rm_removes_what_is_damaged(sfumato, cache):
    (add(cache, "sd1.5") / "model_index.json").resolve().write_text("{")
    assert "removed" in sfumato("models", "rm", "sd1.5").out
    assert sfumato("models", "verify", "sd1.5").err.endswith("sd1.5: is not here\n")


def test_rm_removes_one_and_leaves_the_others(sfumato, cache):
    add(cache, "sd1.5")
    other = add(cache, "sd1.4")
    done = sfumato("models", "rm", "sd1.5")
    assert done.lines == ["sd1.5: removed, 28 KB freed"]
    assert [path.name for path in cache.iterdir()] == ["models--CompVis--stable-diffusion-v1-4"]
    assert (other / "model_index.json").read_bytes() == CONFIG
    assert sfumato("models", "rm", "sd1.5").lines == ["sd1.5: was not here"]


def test_rm_leaves_the_package_alone(sfumato, cache):
    done = sfumato("models", "rm", "mini")
    assert (done.code, done.err) == (1, "sfumato: error: mini: is part of the package\n")


def test_the_first_failure_does_not_stop_the_others(sfumato, cache):
    add(cache, "sd1.4")
    done = sfumato("models", "rm", "mini", "sd1.4", "--json")
    assert done.code == 1
    assert [json.loads(line)["ok"] for line in done.lines] == [False, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required"),
        (("burn",), "invalid choice: 'burn'"),
        (("pull",), "name the model: `sfumato models pull MODEL`"),
        (("rm",), "name the model: `sfumato models rm MODEL`"),
        (("ls", "nothing"), "A model must be a preset (mini, mini-turbo, sd1.4"),
        (("rm", "../secrets"), "A model must be a preset (mini, mini-turbo, sd1.4"),
    ],
)
def test_misuse(sfumato, cache, arguments, message):
    done = sfumato("models", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (999, "999 B"), (28_047, "28 KB"), (999_600, "1 MB"), (4_265_380_512, "4.27 GB")],
)
def test_sizes_in_words(size, words):
    assert in_words(size) == words


def test_the_bundled_model_is_told_apart(sfumato, cache, monkeypatch, tmp_path):
    folder = tmp_path / "mini"
    folder.mkdir()
    (folder / "model_index.json").write_bytes(CONFIG)
    monkeypatch.setattr(type(presets.PRESETS["mini"]), "folder", property(lambda self: folder))
    row = sfumato("models", "ls", "mini").lines[1]
    assert "in the package" in row


def test_one_file_of_a_repository(sfumato, cache):
    x, y = "someone/something/x.safetensors", "someone/something/y.safetensors"
    folder = store(
        cache, "someone/something", COMMIT, {"x.safetensors": WEIGHTS, "y.safetensors": b"y"}
    )
    assert json.loads(sfumato("models", "ls", x, "--json").out)["bytes"] == len(WEIGHTS)
    (folder / "y.safetensors").resolve().write_bytes(b"z")
    assert sfumato("models", "verify", x).lines == [f"{x}: intact"]
    assert "damaged: y.safetensors (" in sfumato("models", "verify", y).err
    done = sfumato("models", "rm", x)
    assert done.code == 1
    assert "`models rm someone/something@main` removes all that is here" in done.err
    assert (folder / "x.safetensors").read_bytes() == WEIGHTS
    assert sfumato("models", "rm", "someone/something@main").code == 0
    assert not folder.exists()


def test_a_folder_of_the_same_name_is_another_model(sfumato, cache):
    Path("someone/something").mkdir(parents=True)
    assert json.loads(sfumato("models", "ls", "someone/something", "--json").out)["path"] is None
    assert "is not here" in sfumato("models", "verify", "someone/something").err
    assert sfumato("models", "pull", "someone/something").code == 1
    folder = store(cache, "someone/something", COMMIT, {"x.safetensors": WEIGHTS})
    assert sfumato("models", "pull", "someone/something").lines == [f"someone/something: {folder}"]


def test_a_broken_cache_is_told_from_an_empty_one(sfumato, cache):
    (add(cache, "sd1.5") / UNET).resolve().unlink()
    assert "is not complete (`models pull`)" in sfumato("models", "verify", "sd1.5").err
    done = sfumato("models", "rm", "sd1.5")
    assert done.code == 1
    assert f"remove the folder `{next(cache.iterdir())}`" in done.err


def test_verify_where_the_cache_has_no_links(sfumato, cache):
    """As on Windows: no name says what the content must be, so only the frame is checked."""
    folder = add(cache, "sd1.5")
    for name in ("model_index.json", UNET):
        (folder / name).unlink()
    (folder / "model_index.json").write_bytes(CONFIG)
    shapes = file_shapes(UNetNetwork(tiny_model.UNET))
    write_safetensors(folder / UNET, {n: np.zeros(shape, "float16") for n, shape in shapes.items()})
    assert sfumato("models", "verify", "sd1.5").lines == ["sd1.5: intact"]
    (folder / UNET).write_bytes((folder / UNET).read_bytes()[:-1])
    assert "sd1.5: damaged: " in sfumato("models", "verify", "sd1.5").err
