"""Stage 5: what the exported model draws when asked, in figures.

    python -m recipes.mini.evaluate --configuration cpu --work RUN --folder PRESET

Writes ``PRESET.json`` and ``PRESET.png`` (the contact sheet) into the work folder. Every figure
stands beside the same figure for real renders and for the autoencoder's reconstructions of them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recipes.mini import frechet
from recipes.mini.compose import Composer, Scene, open_composer, prompt
from recipes.mini.config import arguments
from recipes.mini.judge import Judge, real, shrink, small_composer
from recipes.mini.questions import PROMPTS, questions, score
from sfumato import StableDiffusion

log = logging.getLogger(__name__)
Draw = Callable[[list[Scene]], np.ndarray]
GUIDANCE = (1.0, 2.0, 3.0, 5.0)
JUDGE_STEPS = 2000


def nearest(pictures: np.ndarray, scenes: list[Scene], composer: Composer) -> dict[str, float]:
    """How near the generated pictures are to the nearest render of the training set, in dB.

    Above about 20 dB a picture is the render but for its details: a copy. Both are compared at the
    size of the judge.
    """
    random, composer = np.random.Generator(np.random.Philox(0)), small_composer(composer)
    renders = [
        composer.paint(Scene(label.name, label.style), index, random)
        for index, label in enumerate(composer.pack.labels)
        if not composer.hidden(label.name, label.style)
    ]
    known = np.stack(renders).astype("float32").reshape(len(renders), -1)
    flat = (127.5 * (shrink(pictures) + 1)).reshape(len(pictures), -1)
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


def contact(model: Any) -> np.ndarray:
    """The answers to the prompts of the contact sheet, uint8 (B, H, W, 3)."""
    drawn = [
        model.text_to_image(text, seed=seed, verbose=False) for seed, text in enumerate(PROMPTS)
    ]
    return np.concatenate(drawn)


def sheet(pictures: np.ndarray, columns: int = 8) -> Image.Image:
    """The pictures (B, H, W, 3) side by side, row by row."""
    rows = -(-len(pictures) // columns)
    blank = np.full((rows * columns - len(pictures), *pictures.shape[1:]), 255, "uint8")
    _, H, W, _ = pictures.shape
    grid = np.concatenate([pictures, blank]).reshape(rows, columns, H, W, 3)
    return Image.fromarray(grid.swapaxes(1, 2).reshape(rows * H, columns * W, 3))


def apart(composer: Composer, model: Any, count: int) -> dict[str, float]:
    """Fréchet distances of other renders, reconstructions and generated pictures from renders of
    the training's scenes."""
    random = np.random.Generator(np.random.Philox(17))
    scenes = [composer.draw_scene(random)[0] for _ in range(2 * count)]
    draw = drawers(model, composer)
    known = frechet.features(draw["renders"](scenes[:count]))
    return {
        source: frechet.distance(known, frechet.features(draw[source](scenes[count:])))
        for source in draw
    }


def grid(model: Any, asked: dict[str, list[Scene]], judge: Judge) -> dict[str, Any]:
    """The main figures over guidance and steps; a distilled model knows no guidance."""
    found = {}
    distilled = model.model.guidance <= 1
    for guidance in GUIDANCE[:1] if distilled else GUIDANCE:
        for steps in (1, 2, 4, 8) if distilled else (4, 8, 20):
            options = {"unconditional_guidance_scale": guidance, "num_steps": steps}
            draw, name = generator(model, **options), f"guidance {guidance}, {steps} steps"
            for kind in ("seen cells", "held-out cells", "seen colours"):
                found[f"{name}: {kind}"] = score(kind, asked[kind], draw(asked[kind]), judge)
                log.info("%s, %s: %s", name, kind, found[f"{name}: {kind}"])
    return found


def main() -> None:
    config, work, folder, count, wide = arguments(
        __doc__,
        folder={"default": "mini", "help": "a preset or a diffusers folder"},
        count={"type": int, "default": 64},
        grid={"action": "store_true", "help": "also over guidance and steps; distances"},
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
    if wide:
        found |= grid(model, {kind: scenes[: count // 2] for kind, scenes in asked.items()}, judge)
        found["distances"] = apart(composer, model, 8 * count)
    name = Path(folder).name
    sheet(contact(model)).save(work / f"{name}.png")
    (work / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
