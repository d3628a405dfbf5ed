"""Stage 5: what the exported model draws when asked, in figures.

    python -m recipes.mini.evaluate --configuration cpu --work RUN --folder PRESET

Writes ``evaluation.json`` and ``samples.png`` into the work folder. Every figure stands beside
the same figure for real renders and for the autoencoder's reconstructions of them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from recipes.mini.colours import BACKGROUNDS, PAINTS, seen_background, seen_colour
from recipes.mini.compose import Composer, Scene, open_composer, prompt, withheld
from recipes.mini.config import arguments
from recipes.mini.judge import Judge, real
from sfumato import StableDiffusion

log = logging.getLogger(__name__)
Draw = Callable[[list[Scene]], np.ndarray]
GRID = tuple((guidance, steps) for guidance in (1.0, 2.0, 3.0, 5.0) for steps in (8, 20))
JUDGE_STEPS = 800


def questions(composer: Composer, count: int, seed: int = 5) -> dict[str, list[Scene]]:
    """What is asked: at most ``count`` scenes of every kind."""
    random = np.random.Generator(np.random.Philox(seed))
    default, cells = composer.styles[0], list(composer.found)
    labels = composer.pack.labels
    drawn = [cell for cell in cells if cell[1] == default]
    paintable = [c for c in drawn if any(labels[i].paintable for i in composer.found[c])]
    painted = [Scene(*cell, colour=colour) for cell in paintable for colour in PAINTS]

    def own(scene: Scene) -> bool:
        indices = composer.found[scene.name, scene.style]
        return any(labels[i].colour == scene.colour for i in indices)

    kinds = {
        "seen cells": [Scene(*cell) for cell in composer.cells],
        "held-out cells": [Scene(*cell) for cell in cells if composer.hidden(*cell)],
        "seen colours": [s for s in painted if own(s) or not withheld(s.name, s.colour)],
        "held-out colours": [s for s in painted if not own(s) and withheld(s.name, s.colour)],
        "backgrounds": [Scene(*c, background=ground) for c in drawn for ground in BACKGROUNDS],
    }
    return {kind: shuffled(scenes, random)[:count] for kind, scenes in kinds.items()}


def shuffled(scenes: list[Scene], random: np.random.Generator) -> list[Scene]:
    return [scenes[i] for i in random.permutation(len(scenes))]


def score(kind: str, scenes: list[Scene], pictures: np.ndarray, judge: Judge) -> dict[str, float]:
    """The figures of one kind of question."""
    found = judge.retrieval(pictures, scenes) if "cells" in kind else {}
    if "colours" in kind:
        right = [seen_colour(p) == s.colour for p, s in zip(pictures, scenes, strict=True)]
        found["colour"] = float(np.mean(right))
    right = [seen_background(p) == s.background for p, s in zip(pictures, scenes, strict=True)]
    return found | {"background": float(np.mean(right)), "count": len(scenes)}


def nearest(pictures: np.ndarray, scenes: list[Scene], composer: Composer) -> dict[str, float]:
    """How near the generated pictures are to the nearest render of the training set, in dB.

    Above about 20 dB a picture is the render but for its details: a copy.
    """
    random = np.random.Generator(np.random.Philox(0))
    renders = [
        composer.paint(Scene(label.name, label.style), index, random)
        for index, label in enumerate(composer.pack.labels)
        if not composer.hidden(label.name, label.style)
    ]
    known = np.stack(renders).astype("float32").reshape(len(renders), -1)
    flat = pictures.astype("float32").reshape(len(pictures), -1)
    squares = (flat**2).sum(1)[:, None] - 2 * flat @ known.T + (known**2).sum(1)
    error = squares.min(1) / flat.shape[1]
    noise_ratio = 10 * np.log10(255**2 / np.maximum(error, 1e-3))
    return {"median_db": float(np.median(noise_ratio)), "copies": float(np.mean(noise_ratio > 20))}


def drawers(model: Any, composer: Composer) -> dict[str, Draw]:
    """Where the pictures come from: renders, their reconstructions, the model at its settings."""
    random = np.random.Generator(np.random.Philox(11))

    def renders(scenes: list[Scene]) -> np.ndarray:
        return np.stack([real(composer, scene, random) for scene in scenes])

    def reconstructions(scenes: list[Scene]) -> np.ndarray:
        x = renders(scenes).astype("float32") / 127.5 - 1
        y = np.asarray(keras_numpy(model.decoder(model.image_encoder(x))))
        return np.clip(np.round((y + 1) * 127.5), 0, 255).astype("uint8")

    return {"renders": renders, "reconstructions": reconstructions, "generated": generator(model)}


def keras_numpy(x: Any) -> np.ndarray:
    from keras import ops

    return ops.convert_to_numpy(x)


def generator(model: Any, **options: Any) -> Draw:
    def draw(scenes: list[Scene]) -> np.ndarray:
        prompts = [prompt(scene) for scene in scenes]
        parts = [prompts[i : i + 16] for i in range(0, len(prompts), 16)]
        seeds = range(1000, 1000 + 16 * len(parts), 16)
        return np.concatenate(
            [
                model.text_to_image(part, seed=seed, verbose=False, **options)
                for part, seed in zip(parts, seeds, strict=True)
            ]
        )

    return draw


def sheet(pictures: np.ndarray, columns: int = 8) -> Image.Image:
    """The pictures (B, H, W, 3) side by side, row by row."""
    rows = -(-len(pictures) // columns)
    blank = np.full((rows * columns - len(pictures), *pictures.shape[1:]), 255, "uint8")
    _, H, W, _ = pictures.shape
    grid = np.concatenate([pictures, blank]).reshape(rows, columns, H, W, 3)
    return Image.fromarray(grid.swapaxes(1, 2).reshape(rows * H, columns * W, 3))


def main() -> None:
    config, work, folder, count, grid = arguments(
        __doc__,
        folder={"default": "mini", "help": "a preset or a diffusers folder"},
        count={"type": int, "default": 64},
        grid={"action": "store_true", "help": "also over guidance and steps"},
    )
    composer = open_composer(config, work)
    judge = Judge(composer)
    judge.train_or_load(work / "judge.weights.h5", JUDGE_STEPS)
    model = StableDiffusion.from_preset(folder)
    asked = questions(composer, count)
    found: dict[str, Any] = {}
    for source, draw in drawers(model, composer).items():
        for kind, scenes in asked.items():
            pictures = draw(scenes)
            found[f"{source}: {kind}"] = score(kind, scenes, pictures, judge)
            log.info("%s, %s: %s", source, kind, found[f"{source}: {kind}"])
            if source == "generated" and kind == "seen cells":
                found["nearest"] = nearest(pictures, scenes, composer)
                sheet(pictures).save(work / "samples.png")
    for guidance, steps in GRID if grid else ():
        options = {"unconditional_guidance_scale": guidance, "num_steps": steps}
        draw = generator(model, **options)
        name = f"guidance {guidance}, {steps} steps"
        for kind in ("seen cells", "seen colours"):
            scenes = asked[kind][: count // 2]
            found[f"{name}: {kind}"] = score(kind, scenes, draw(scenes), judge)
            log.info("%s, %s: %s", name, kind, found[f"{name}: {kind}"])
    (work / "evaluation.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
