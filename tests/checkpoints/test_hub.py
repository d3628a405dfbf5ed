"""Names, addresses and the Hub: what is fetched, what is not, and what the user is told."""

from __future__ import annotations

import json

import huggingface_hub
import pytest
import tiny_models
from huggingface_hub import constants

from sfumato import presets
from sfumato.checkpoints import CheckpointError, save_diffusers
from sfumato.checkpoints.hub import Address, find_address, is_complete, resolve, select

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A Hub cache of this test's own."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cached(cache, repository: str, revision: str):
    """A model in the cache as huggingface_hub lays it out, which took a part of a repository."""
    base = cache / f"models--{repository.replace('/', '--')}"
    save_diffusers(base / "snapshots" / COMMIT, tiny_models.networks("1.x"))
    (base / "refs").mkdir()
    (base / "refs" / revision).write_text(COMMIT)
    (base / "trees").mkdir()
    files = {"README.md": {"size": 1, "blob_id": COMMIT}}
    tree = json.dumps({"format_version": 1, "files": files})
    (base / "trees" / f"{COMMIT}.json").write_text(tree)
    return base / "snapshots" / COMMIT


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("user/name", Address("user/name")),
        ("user/name@v1.0", Address("user/name", "v1.0")),
        ("hf://user/na.me", Address("user/na.me")),
        ("https://huggingface.co/user/name/", Address("user/name")),
        ("https://huggingface.co/user/name/tree/main", Address("user/name", "main")),
        (
            "https://huggingface.co/user/name/resolve/abc/a/b c.safetensors?download=true",
            Address("user/name", "abc", "a/b c.safetensors"),
        ),
        ("user/name/x.safetensors", Address("user/name", "main", "x.safetensors")),
        ("user/name@refs/pr/1", Address("user/name", "refs/pr/1")),
        ("user/name@refs/pr/1/x.safetensors", Address("user/name", "refs/pr/1", "x.safetensors")),
        ("https://huggingface.co/user/name/tree/refs%2Fpr%2F1", Address("user/name", "refs/pr/1")),
        (
            "https://huggingface.co/user/name/resolve/refs%2Fpr%2F1/a%20b.safetensors",
            Address("user/name", "refs/pr/1", "a b.safetensors"),
        ),
        ("https://hf-mirror.com/user/name", Address("user/name")),
        ("http://localhost:9/user/name/tree/main", Address("user/name", "main")),
        ("models/x.safetensors", None),
        ("models/x.ckpt", None),
        ("user/name/x.ckpt", None),
        ("user/../name", None),
        ("https://example.com/user/name", None),
        ("name", None),
        ("", None),
        ("/etc/passwd", None),
    ],
)
def test_addresses(text, address, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://localhost:9/")
    assert find_address(text) == address


def test_only_one_variant_and_nothing_but_data_is_selected():
    names = [
        "model_index.json",
        "README.md",
        "pipeline.py",
        "model.safetensors",
        "v1-5.ckpt",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "tokenizer/evil.py",
        "safety_checker/model.safetensors",
        "unet/config.json",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/model.onnx",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "text_encoder/pytorch_model.bin",
    ]
    weights = [name for name in select(names, "fp16") if name.endswith(".safetensors")]
    assert weights == [
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.fp16.safetensors",
    ]
    assert "unet/diffusion_pytorch_model.safetensors" in select(names)
    for chosen in (select(names), select(names, "fp16")):
        assert all(name.endswith((".safetensors", ".json", ".txt")) for name in chosen)
        assert not {"safety_checker/model.safetensors", "model.safetensors"} & set(chosen)


def test_repositories_of_single_files():
    assert select(["README.md", "x.safetensors", "x.ckpt"]) == ["x.safetensors"]
    with pytest.raises(CheckpointError, match="must hold one"):
        select(["a.safetensors", "b.safetensors"])
    with pytest.raises(CheckpointError, match="unet as safetensors.* holds nothing"):
        select(["model_index.json"])


@pytest.mark.parametrize(
    "names",
    [
        ["text_encoder/pytorch_model.bin"],
        ["text_encoder/config.json"],
        ["text_encoder/model-00001-of-00002.safetensors"],
    ],
)
def test_a_part_that_cannot_be_had_is_found_before_anything_is_fetched(names):
    whole = ["model_index.json", "unet/diffusion_pytorch_model.safetensors"]
    assert select(whole) == whole
    with pytest.raises(CheckpointError, match=r"text_encoder as safetensors.*refs/pr/1") as error:
        select(whole + names)
    assert "config.json" in names[0] or names[0] in str(error.value)


def test_without_a_network_the_error_says_what_was_looked_for_where(cache):
    with pytest.raises(FileNotFoundError) as error:
        resolve("sd1.5", offline=True)
    text = str(error.value)
    preset = presets.PRESETS["sd1.5"]
    for part in (
        "The preset 'sd1.5'",
        preset.repository,
        preset.revision,
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/model.fp16.safetensors",
        str(cache / "models--stable-diffusion-v1-5--stable-diffusion-v1-5"),
        "https://huggingface.co",
        "offline",
        "preset='mini'",
    ):
        assert part in text


def test_a_failing_network_is_the_cause_that_is_named(cache, monkeypatch):
    def fail(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    with pytest.raises(FileNotFoundError, match="user/name.*no route to host") as error:
        resolve("user/name", offline=False)
    assert isinstance(error.value.__cause__, ConnectionError)


def test_what_is_complete_in_the_cache_needs_no_network(cache, monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("the network was touched")

    preset = presets.PRESETS["bk-sdm-tiny"]
    folder = cached(cache, preset.repository, "main")
    assert resolve("bk-sdm-tiny", offline=True) == (folder, preset, "bk-sdm-tiny")
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", forbidden)
    assert resolve(f"{preset.repository}@{COMMIT}", offline=False).path == folder
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError):
        resolve("bk-sdm-tiny", offline=True)


def test_a_fresh_revision_is_preferred_and_the_cache_is_the_refuge(cache, monkeypatch):
    folder = cached(cache, "user/name", "main")
    asked = []

    def fail(*args, **kwargs):
        asked.append(kwargs)
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    assert resolve("user/name", offline=False).path == folder
    assert asked


def test_a_presets_name_comes_before_a_folder(tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    save_diffusers("sd1.4", tiny_models.networks("1.x"))
    with (
        pytest.raises(FileNotFoundError),
        pytest.warns(UserWarning, match=r"'sd1\.4' is a preset's name.* is \./sd1\.4"),
    ):
        resolve("sd1.4", offline=True)
    assert resolve("./sd1.4", offline=True).preset is None


@pytest.mark.parametrize("name", ["models/sd15", "a/b/c.safetensors"])
def test_a_name_that_is_no_path_either_says_so(name, cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = rf"no file or folder '{name}' in `{tmp_path}` either"
    with pytest.raises(FileNotFoundError, match=message):
        resolve(name, offline=True)


@pytest.mark.parametrize(
    "name", ["models/x.safetensors", "models/x.ckpt", "./models/x", "/no/where", "C:\\models\\x"]
)
def test_a_path_that_is_not_there_is_never_asked_for(name, monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", forbidden)
    with pytest.raises(ValueError, match="there is no such file or folder"):
        resolve(name, offline=False)


def test_another_web_address_is_no_file():
    with pytest.raises(ValueError, match="there is no address of the Hub"):
        resolve("https://example.com/user/name")


def test_what_is_nothing_is_refused():
    with pytest.raises(ValueError, match=r"must be a preset \(mini, mini-turbo, sd1\.4.*'nothing'"):
        resolve("nothing")


def test_a_bundled_model_that_is_not_there(monkeypatch, tmp_path):
    preset = presets.Preset("gone", "not there")
    monkeypatch.setattr(presets, "find", lambda name: preset)
    with pytest.raises(FileNotFoundError, match="part of this package, but its weights"):
        resolve("gone")


def test_without_an_index_one_file_is_complete_and_no_preset(tmp_path):
    assert not is_complete(tmp_path)
    (tmp_path / "a.safetensors").touch()
    assert is_complete(tmp_path)
    assert not is_complete(tmp_path, presets.PRESETS["sdxl-turbo"])
    (tmp_path / "b.safetensors").touch()
    assert not is_complete(tmp_path)


def test_an_index_may_leave_out_parts(tmp_path):
    index = {"unet": ["diffusers", "UNet"], "vae": None, "text_encoder": [None, None]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert not is_complete(tmp_path)
    (tmp_path / "unet").mkdir()
    file = tmp_path / "unet/diffusion_pytorch_model.safetensors"
    file.symlink_to(tmp_path / "nowhere")
    assert not is_complete(tmp_path)
    (tmp_path / "nowhere").touch()
    assert is_complete(tmp_path)


def test_one_file_of_a_repository_does_not_make_the_preset(cache):
    preset = presets.PRESETS["bk-sdm-tiny"]
    folder = cached(cache, preset.repository, "main")
    (folder / "model_index.json").rename(folder / "x.safetensors")
    assert resolve(f"{preset.repository}/x.safetensors", offline=True).path.is_file()
    with pytest.raises(FileNotFoundError):
        resolve("bk-sdm-tiny", offline=True)
