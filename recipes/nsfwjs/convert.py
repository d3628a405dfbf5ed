"""Convert the safety classifier from the npm package `nsfwjs`.

    npm pack nsfwjs@4.3.0 && tar xf nsfwjs-4.3.0.tgz
    python -m recipes.nsfwjs.convert package src/sfumato/presets/nsfwjs

The weights are of Infinite Red and Gant Laborde, under the MIT licence, which goes with them. The
package stores each tensor in 8 bits, with a least value and a step. The bytes, the least values and
the steps are taken over as they are, so nothing is rounded a second time.
"""

from __future__ import annotations

import argparse
import base64
import math
import re
import shutil
from pathlib import Path

import numpy as np

from sfumato.checkpoints.safetensors import write_safetensors

CREDIT = {
    "title": "NSFW JS, MobileNetV2",
    "author": "Infinite Red, Inc. and Gant Laborde",
    "license": "MIT",
    "source": "npm nsfwjs 4.3.0",
}
MODEL = "dist/models/mobilenet_v2"
FILES = ("model.min.js", "group1-shard1of1.min.js")
NUMBER = r"([-+.\de]+)"
ENTRY = re.compile(
    r'\{name:"([^"]+)",shape:\[([\d,]+)\],dtype:"float32",'
    rf'quantization:\{{min:{NUMBER},scale:{NUMBER},dtype:"uint8"\}}\}}'
)


def convert(package: Path, folder: Path) -> None:
    """Write the network of an unpacked package, in its 8 bits, and its licence."""
    texts = [(package / MODEL / name).read_text() for name in FILES]
    arrays, ranges = read(*texts)
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", {"ranges": ranges, **arrays}, CREDIT)
    shutil.copyfile(package / "LICENSE", folder / "LICENSE.txt")


def read(model: str, shard: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The tensors of a model, uint8 by Keras' names of today, in the order of the names.

    Args:
        model: the script with the description of the tensors.
        shard: the script with their bytes.

    Returns:
        The tensors, and (n, 2) float64: the least value and the step of each.
    """
    entries = ENTRY.findall(model)
    (text,) = re.findall(r'"([A-Za-z0-9+/]{100,}={0,2})"', shard)
    data, start = base64.b64decode(text), 0
    found: dict[str, tuple[np.ndarray, list[float]]] = {}
    for name, sizes, least, step in entries:
        shape = [int(size) for size in sizes.split(",")]
        array = np.frombuffer(data, "uint8", math.prod(shape), start).reshape(shape)
        found[name.replace("/depthwise_kernel", "/kernel")] = array, [float(least), float(step)]
        start += array.nbytes
    if start != len(data) or len(found) != model.count("quantization:"):
        raise ValueError(f"{len(found)} tensors are understood, {start} of {len(data)} bytes")
    names = sorted(found)
    ranges = np.array([found[name][1] for name in names], "float64")
    return {name: found[name][0] for name in names}, ranges


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    convert(options.package, options.folder)
