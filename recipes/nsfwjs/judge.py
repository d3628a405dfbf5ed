"""Compare the safety classifier with the original, on the photographs of scikit-image.

    npm install --prefix FOLDER nsfwjs@4.3.0 @tensorflow/tfjs@4.22.0 buffer@6.0.3
    python -m recipes.nsfwjs.judge FOLDER/node_modules tests/safety_reference.json

TensorFlow.js computes in JavaScript here, ten seconds a picture. What it says becomes the file, by
which the tests judge. The table is that of `docs/safety.md`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

from sfumato.safety import CLASSES, LIMIT, UNSAFE, classify

PHOTOGRAPHS = (
    *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png"),
    *("coffee.png", "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png"),
    *("microaneurysms.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg"),
)
SCRIPT = Path(__file__).with_name("reference.mjs")


def photograph(name: str) -> np.ndarray:
    """The pixels (H, W, 3) of a picture that scikit-image ships."""
    with Image.open(Path(skimage.__file__).parent / "data" / name) as picture:
        return np.array(picture.convert("RGB"))


def reference(modules: Path, pictures: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """The classes of pictures by the original."""
    with tempfile.TemporaryDirectory() as folder:
        for name, pixels in pictures.items():
            pixels.tofile(Path(folder, f"{name}.raw"))
        shapes = {name: pixels.shape for name, pixels in pictures.items()}
        Path(folder, "pictures.json").write_text(json.dumps(shapes))
        command = ["node", SCRIPT, modules.resolve(), folder]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def main(modules: Path, file: Path) -> None:
    pictures = {name: photograph(name) for name in PHOTOGRAPHS}
    expected = reference(modules, pictures)
    file.write_text(json.dumps(expected, indent=1) + "\n")

    print(f"| photograph | {' | '.join(CLASSES)} | flagged |\n|---|{'---|' * (len(CLASSES) + 1)}")
    worst = 0.0
    for name, pixels in pictures.items():
        found = classify(pixels)
        worst = max(worst, *(abs(found[each] - expected[name][each]) for each in CLASSES))
        flag = "yes" if sum(found[each] for each in UNSAFE) > LIMIT else ""
        numbers = " | ".join(f"{found[each]:.3f}" for each in CLASSES)
        print(f"| `{name}` | {numbers} | {flag} |")
    print(f"\nThe largest difference is {worst:.1e}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", type=Path, help="node_modules with the original")
    parser.add_argument("file", type=Path, help="for its numbers")
    options = parser.parse_args()
    main(options.modules, options.file)
