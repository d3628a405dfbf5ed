"""Convert the bundled upscaler, `esrgan`, from the format of TensorFlow.js.

    npm pack @upscalerjs/esrgan-medium && tar xf upscalerjs-esrgan-medium-*.tgz
    python -m recipes.esrgan.convert package src/sfumato/presets/esrgan

The weights are Kevin Scott's, under the MIT licence, which goes with them. Of the models of his
packages the medium one for a scale of 4 was chosen. Reduced to a scale of 2 it is better than the
one for 2, and than both slim ones; see `recipes.esrgan.judge`.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np

from sfumato.checkpoints.safetensors import write_safetensors

SCALE = 4
CREDIT = {
    "title": "esrgan-medium, x4",
    "author": "Kevin Scott",
    "license": "MIT",
    "source": "npm @upscalerjs/esrgan-medium 1.0.0",
}
NAMES = (
    (r"F_m1", "shallow.0"),
    (r"F_0", "shallow.1"),
    (r"F_(\d+)_(\d+)", "blocks.{}.convs.{}"),
    (r"LFF_(\d+)", "blocks.{}.fusion"),
    (r"GFF_1", "fusion"),
    (r"GFF_2", "conv_body"),
    (r"UPN(\d)", "up.{}"),
    (r"SR", "conv_last"),
)
"""Names of layers, which count from 1, and ours, which count from 0."""


def convert(package: Path, folder: Path) -> None:
    """Write the network of an unpacked package, in float16, and its licence."""
    tensors = {
        native(name): turned(array).astype("float16")
        for name, array in read_layers_model(package / "models" / f"x{SCALE}" / "model.json")
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", dict(sorted(tensors.items())), CREDIT)
    shutil.copyfile(package / "LICENSE", folder / "LICENSE.txt")


def read_layers_model(path: Path) -> list[tuple[str, np.ndarray]]:
    """The variables of a layers-model of TensorFlow.js, as Keras has them."""
    found: list[tuple[str, np.ndarray]] = []
    for group in json.loads(path.read_text())["weightsManifest"]:
        data, start = b"".join((path.parent / name).read_bytes() for name in group["paths"]), 0
        for entry in group["weights"]:
            if entry["dtype"] != "float32" or "quantization" in entry:
                raise ValueError(f"{entry['name']} is not stored as float32")
            size = math.prod(entry["shape"])
            array = np.frombuffer(data, "<f4", size, start).reshape(entry["shape"])
            found.append((entry["name"], array))
            start += array.nbytes
        if start != len(data):
            raise ValueError(f"{path} names {start} of {len(data)} bytes")
    return found


def native(name: str) -> str:
    """Our name of a variable."""
    layer, _, kind = name.partition("/")
    for pattern, ours in NAMES:
        if match := re.fullmatch(pattern, layer):
            place = ours.format(*(int(n) - 1 for n in match.groups()))
            return f"{place}.{ {'kernel': 'weight', 'bias': 'bias'}[kind] }"
    raise ValueError(f"the layer {layer} is unknown")


def turned(array: np.ndarray) -> np.ndarray:
    """A kernel (h, w, I, O) as (O, I, h, w), which files have; a bias as it is."""
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    convert(options.package, options.folder)
