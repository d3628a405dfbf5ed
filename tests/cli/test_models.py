"""`sfumato models` on a cache of the Hub that looks like one, without a network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from sfumato import presets
from sfumato.cli.models import in_words

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
    """A preset's repository as the Hub's client stores it: content by hash, names as links."""
    preset = presets.PRESETS[name]
    repository = cache / f"models--{preset.repository.replace('/', '--')}"
    commit = preset.revision if len(preset.revision) == 40 else "0" * 40
    snapshot = repository / "snapshots" / commit
    git = hashlib.sha1(b"blob %d\0" % len(CONFIG) + CONFIG).hexdigest()
    for name, content, digest in (
        ("model_index.json", CONFIG, git),
        (UNET, WEIGHTS, hashlib.sha256(WEIGHTS).hexdigest()),
    ):
        blob = repository / "blobs" / digest
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(blob)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return snapshot


def test_ls_tells_what_there_is_and_what_is_here(sfumato, cache):
    add(cache, "sd1.5")
    done = sfumato("models", "ls")
    assert (done.code, done.err) == (0, "")
    _, *rows = done.lines
    assert [row.split()[0] for row in rows] == list(presets.PRESETS)
    assert all(preset.license in done.out for preset in presets.PRESETS.values())
    (here,) = (row for row in rows if row.startswith("sd1.5"))
    assert "28 KB" in here


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
        (("ls", "nothing"), "MODEL must be one of mini, mini-turbo, sd1.4"),
        (("rm", "../secrets"), "MODEL must be one of mini, mini-turbo, sd1.4"),
    ],
)
def test_misuse(sfumato, cache, arguments, message):
    done = sfumato("models", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (999, "999 B"), (28_047, "28 KB"), (4_265_380_512, "4.27 GB")]
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
