"""What the evaluation asks the model to draw, and how the answers are marked."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recipes.mini.colours import BACKGROUNDS, PAINTS, seen_background, seen_colour
from recipes.mini.compose import COUNTS, RELATIONS, Composer, Scene, spots, withheld
from recipes.mini.judge import Judge
from recipes.mini.sharpness import figures

PROMPTS = tuple((Path(__file__).parent / "prompts.txt").read_text("utf-8").splitlines())
"""Those of the contact sheet, written before the model was trained; the seed is the place."""


def questions(composer: Composer, count: int, seed: int = 5) -> dict[str, list[Scene]]:
    """What is asked: at most ``count`` scenes of every kind."""
    random = np.random.Generator(np.random.Philox(seed))
    default, cells = composer.styles[0], list(composer.found)
    labels = composer.pack.labels
    drawn = [cell for cell in cells if cell[1] == default]
    paintable = [c for c in drawn if any(labels[i].paintable for i in composer.found[c])]
    painted = [Scene(*cell, colour=colour) for cell in paintable for colour in PAINTS]
    names = [name for name, _ in drawn]
    pairs = [
        Scene(a, default, other=b, relation=tuple(RELATIONS)[random.integers(len(RELATIONS))])
        for a in names
        for b in names
        if a != b
    ]

    def own(scene: Scene) -> bool:
        indices = composer.found[scene.name, scene.style]
        return any(labels[i].colour == scene.colour for i in indices)

    def apart(scene: Scene) -> bool:
        return withheld("pair", *sorted((scene.name, scene.other)))

    kinds = {
        "seen cells": [Scene(*cell) for cell in composer.cells],
        "held-out cells": [Scene(*cell) for cell in cells if composer.hidden(*cell)],
        "seen colours": [s for s in painted if own(s) or not withheld(s.name, s.colour)],
        "held-out colours": [s for s in painted if not own(s) and withheld(s.name, s.colour)],
        "backgrounds": [Scene(*c, background=ground) for c in drawn for ground in BACKGROUNDS],
    }
    if composer.scenes:
        kinds |= {
            "seen pairs": [scene for scene in pairs if not apart(scene)],
            "held-out pairs": [scene for scene in pairs if apart(scene)],
            "counts": [Scene(*cell, count=n) for cell in drawn for n in COUNTS.values()],
        }
    return {kind: shuffled(scenes, random)[:count] for kind, scenes in kinds.items()}


def shuffled(scenes: list[Scene], random: np.random.Generator) -> list[Scene]:
    return [scenes[i] for i in random.permutation(len(scenes))]


def score(kind: str, scenes: list[Scene], pictures: np.ndarray, judge: Judge) -> dict[str, Any]:
    """The figures of one kind of question."""
    found: dict[str, Any] = {"count": len(scenes)}
    if "cells" in kind:
        found |= judge.retrieval(pictures, scenes)
        by_style = defaultdict(list)
        for scene, picture in zip(scenes, pictures, strict=True):
            by_style[scene.style].append((scene, picture))
        for style, rows in by_style.items():
            some, drawn = zip(*rows, strict=True)
            found[f"top1, {style}"] = judge.retrieval(np.stack(drawn), list(some))["top1"]
    if "colours" in kind:
        right = [seen_colour(p) == s.colour for p, s in zip(pictures, scenes, strict=True)]
        found["colour"] = float(np.mean(right))
    if "pairs" in kind or kind == "counts":
        right = [in_place(p, s, judge) for p, s in zip(pictures, scenes, strict=True)]
        found["in place"] = float(np.mean(right))
    right = [seen_background(p) == s.background for p, s in zip(pictures, scenes, strict=True)]
    return found | figures(pictures) | {"background": float(np.mean(right))}


def in_place(picture: np.ndarray, scene: Scene, judge: Judge) -> bool:
    """Whether every thing of a scene is at its spot, and nothing at the spots that stay empty."""
    corners = ((0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5))
    wanted = spots(scene)
    names = [scene.name, scene.other] if scene.other else [scene.name] * len(wanted)
    things = judge.things(np.stack([window(picture, *spot) for spot in wanted]))
    empty = [spot for spot in corners if len(wanted) > 2 and spot not in wanted]
    return things == names and all(np.ptp(window(picture, *spot), (0, 1)).max() < 90
                                   for spot in empty)  # fmt: skip


def window(picture: np.ndarray, left: float, top: float) -> np.ndarray:
    """The part of a picture that a thing of half its size takes, at full size."""
    H, W, _ = picture.shape
    y, x = round(top * H), round(left * W)
    part = Image.fromarray(picture[y : y + H // 2, x : x + W // 2])
    return np.asarray(part.resize((W, H), Image.Resampling.BICUBIC))
