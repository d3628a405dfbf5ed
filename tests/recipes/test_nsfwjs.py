"""The converter of the safety classifier, and that what is bundled is what was published."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from recipes.nsfwjs.convert import FILES, MODEL, convert
from sfumato.checkpoints.safetensors import read_metadata, read_safetensors
from sfumato.safety import FILE

ENTRIES = (
    ("b_depthwise/depthwise_kernel", (3, 3, 20, 1), "-.5", "5e-4"),
    ("a/bias", (7,), "2", ".003"),
)
SIZES = (180, 7)


def publish(folder: Path, more: bytes = b"") -> bytes:
    """Write a package of two tensors, as scripts in which a number may begin with its point."""
    data = np.random.default_rng(0).integers(0, 256, sum(SIZES), np.uint8).tobytes()
    entries = ",".join(
        f'{{name:"{name}",shape:[{",".join(map(str, shape))}],dtype:"float32",'
        f'quantization:{{min:{least},scale:{step},dtype:"uint8"}}}}'
        for name, shape, least, step in ENTRIES
    )
    model = f"!function(e){{a.exports={{weightsManifest:[{{weights:[{entries}]}}]}}}}"
    shard = f'!function(e){{a.exports="{base64.b64encode(data + more).decode()}"}}'
    (folder / MODEL).mkdir(parents=True)
    for name, text in zip(FILES, (model, shard), strict=True):
        (folder / MODEL / name).write_text(text)
    (folder / "LICENSE").write_text("MIT")
    return data


def test_a_published_network_is_converted(tmp_path: Path):
    data = publish(tmp_path / "package")
    convert(tmp_path / "package", tmp_path / "converted")
    tensors = read_safetensors(tmp_path / "converted" / "model.safetensors")
    assert sorted(tensors) == ["a/bias", "b_depthwise/kernel", "ranges"]
    assert tensors["b_depthwise/kernel"].shape == ENTRIES[0][1]
    assert tensors["b_depthwise/kernel"].tobytes() == data[:180]
    assert tensors["a/bias"].tobytes() == data[180:]
    assert tensors["ranges"].tolist() == [[2, 0.003], [-0.5, 5e-4]]  # by name
    assert (tmp_path / "converted" / "LICENSE.txt").read_text() == "MIT"


def test_what_is_not_understood_is_refused(tmp_path: Path):
    publish(tmp_path, b"more")
    with pytest.raises(ValueError, match="187 of 191 bytes"):
        convert(tmp_path, tmp_path / "converted")


def test_the_bundled_network_has_its_licence_and_is_small():
    assert read_metadata(FILE)["license"] == "MIT"
    assert "Infinite Red" in (FILE.parent / "LICENSE.txt").read_text()
    assert FILE.stat().st_size < 2.7e6
