"""The converter of the bundled upscaler, and that what is bundled is what its author published."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from recipes.esrgan.convert import convert, native
from sfumato.checkpoints.upscalers import read_upscaler
from sfumato.networks.network import keys
from sfumato.networks.upscalers import RDN, RDNConfig
from sfumato.presets.upscalers import BUNDLED

CONFIG = RDNConfig(width=8, growth=4, blocks=2, layers=1, scale=4)
LAYERS = {
    "F_m1": "shallow.0",
    "F_0": "shallow.1",
    "F_1_1": "blocks.0.convs.0",
    "F_2_1": "blocks.1.convs.0",
    "LFF_1": "blocks.0.fusion",
    "LFF_2": "blocks.1.fusion",
    "GFF_1": "fusion",
    "GFF_2": "conv_body",
    "UPN1": "up.0",
    "UPN2": "up.1",
    "UPN3": "up.2",
    "SR": "conv_last",
}


def publish(folder: Path) -> RDN:
    """Write a package of a small network; kernels have Keras' order of axes there."""
    network = RDN(CONFIG)
    network.initialize(0)
    values = {key: np.array(variable) for key, variable in keys(network).items()}
    entries, data = [], b""
    for theirs, ours in LAYERS.items():
        for kind, name in (("kernel", "weight"), ("bias", "bias")):
            array = values[f"{ours}.{name}"]
            array = array[None, None] if array.ndim == 2 else array  # a 1x1 convolution
            shape = [*array.shape]
            entries.append({"name": f"{theirs}/{kind}", "shape": shape, "dtype": "float32"})
            data += array.astype("<f4").tobytes()
    (folder / "models/x4").mkdir(parents=True)
    manifest = [{"paths": ["part1.bin", "part2.bin"], "weights": entries}]
    (folder / "models/x4/model.json").write_text(json.dumps({"weightsManifest": manifest}))
    (folder / "models/x4/part1.bin").write_bytes(data[:1000])
    (folder / "models/x4/part2.bin").write_bytes(data[1000:])
    (folder / "LICENSE").write_text("MIT")
    return network


def test_a_published_network_is_converted(tmp_path):
    network = publish(tmp_path / "package")
    convert(tmp_path / "package", tmp_path / "converted")
    found = read_upscaler(tmp_path / "converted" / "model.safetensors")
    assert found.config == CONFIG
    assert (tmp_path / "converted" / "LICENSE.txt").read_text() == "MIT"
    for variable, other in zip(network.variables, found.variables, strict=True):
        half = np.array(variable).astype("float16").astype("float32")
        np.testing.assert_array_equal(np.array(other), half)


def test_what_is_not_understood_is_refused(tmp_path):
    publish(tmp_path)
    with pytest.raises(ValueError, match="FANCY"):
        native("FANCY/kernel")
    with (tmp_path / "models/x4/part2.bin").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match="bytes"):
        convert(tmp_path, tmp_path / "converted")


def test_the_bundled_network_is_the_converted_one():
    assert read_upscaler(BUNDLED["esrgan"]).config == RDNConfig()
