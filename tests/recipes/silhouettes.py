"""Silhouettes of pictures, and of all drawings of a work folder: `python silhouettes.py RUN`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

SIDE = 16


def silhouette(picture: np.ndarray) -> np.ndarray:
    """How far from the background a picture uint8 (H, W, 3) is, place by place: (16, 16)."""
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    away = np.abs(picture.astype("float32") - np.median(border, 0)).max(-1) > 40
    step = len(picture) // SIDE
    return away.reshape(SIDE, step, SIDE, step).mean((1, 3), dtype="float32")


def main(work: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from recipes.mini.compose import Scene, open_composer
    from recipes.mini.config import CPU

    composer = open_composer(CPU, work)
    random = np.random.Generator(np.random.Philox(0))
    names, shapes = [], []
    for (name, style), indices in composer.found.items():
        # On a ground that no drawing has, so that white parts count as parts of the thing.
        scene = Scene(name, style, background="gray")
        shape = silhouette(composer.paint(scene, indices[0], random))
        names.append(f"{name}|{style}")
        shapes.append(np.round(255 * shape).astype("uint8"))
    path = Path(__file__).parent / "silhouettes.npz"
    np.savez_compressed(path, names=np.array(names), shapes=np.stack(shapes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
