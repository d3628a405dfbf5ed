"""The models on this machine."""

from __future__ import annotations

import hashlib

import pytest
import tiny_models
from huggingface_hub import constants

from sfumato.checkpoints import CheckpointError, save_diffusers
from sfumato.checkpoints.cache import locate, remove, verify
from sfumato.presets import PRESETS, Preset

PRESET = PRESETS["sd1.5"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A preset in a Hub cache of this test's own, its large files named by their hashes."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    base = tmp_path / f"models--{PRESET.repository.replace('/', '--')}"
    snapshot = base / "snapshots" / PRESET.revision
    save_diffusers(snapshot, tiny_models.networks("1.x"))
    (base / "blobs").mkdir()
    for file in list(snapshot.rglob("*.safetensors")):
        blob = base / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        file.rename(blob)
        file.symlink_to(blob)
    (base / "refs").mkdir()
    (base / "refs/main").write_text(PRESET.revision)
    return snapshot


def test_a_preset_is_found_verified_and_removed(folder):
    assert locate(PRESET) == folder
    assert verify(folder) == 3
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    assert remove(PRESET) >= size
    assert locate(PRESET) is None
    assert not folder.exists()
    assert remove(PRESET) == 0


def test_damage_is_found(folder):
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    with file.resolve().open("r+b") as damaged:
        damaged.seek(-1, 2)
        damaged.write(b"x")
    with pytest.raises(CheckpointError, match="has the SHA-256"):
        verify(folder)


def test_what_is_not_there_or_bundled(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "none"))
    assert locate(PRESET) is None
    assert remove(PRESET) == 0
    assert locate(Preset("gone", "a bundled model without its weights")) is None
    with pytest.raises(ValueError, match="part of Sfumato"):
        remove(PRESETS["mini"])
