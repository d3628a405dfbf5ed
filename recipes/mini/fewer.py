"""What fewer evaluations save and cost: seconds of the denoiser, and the pictures' figures.

    python -m recipes.mini.fewer --configuration cpu --work RUN --folder PRESET

Every row changes options of ``text_to_image`` or, on OpenVINO, quantises. Its pictures answer the
questions of the evaluation from the same noise as those of the preset's own settings, the first
row, from which they are so many decibels away. Writes ``fewer.json`` and ``fewer.md`` into the work
folder and goes on from what is there: ``--rounds 0`` measures no time, for a busy machine,
``--count 0`` nothing else, and ``--minutes`` is when no further row begins.
"""

from __future__ import annotations

import json
import logging
import statistics
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from recipes.mini.compose import Scene, open_composer
from recipes.mini.config import arguments
from recipes.mini.evaluate import JUDGE_STEPS, Draw, generator
from recipes.mini.judge import Judge
from recipes.mini.questions import questions, score
from sfumato import StableDiffusion, generation

log = logging.getLogger(__name__)
KINDS = ("seen cells", "seen colours")
BATCH = 16
LATE = (0.5, 1.0)
OURS = {"num_steps": "steps", "unconditional_guidance_scale": "guidance"}
ROWS: tuple[dict[str, Any], ...] = (
    {},
    {"guidance_interval": (0.2, 0.8)},
    {"guidance_interval": (0.0, 0.5)},
    {"guidance_interval": LATE},
    {"unconditional_guidance_scale": 1.0},
    {"feature_reuse": 2},
    {"feature_reuse": 3},
    {"feature_reuse": 5},
    {"token_merging": 0.25},
    {"num_steps": 8},
    {"num_steps": 6},
    {"feature_reuse": 2, "guidance_interval": LATE},
    {"feature_reuse": 3, "guidance_interval": LATE},
    {"num_steps": 8, "guidance_interval": LATE},
    {"num_steps": 10, "feature_reuse": 2},
    {"num_steps": 10, "guidance_interval": LATE},
    {"num_steps": 5},
    {"num_steps": 4},
    {"token_merging": 0.5},
    {"token_merging": 0.75},
    {"sampler": "unipc", "num_steps": 6},
    {"sampler": "heun", "num_steps": 10, "feature_reuse": 2},
    {"quantize": "int8"},
    {"quantize": "int8", "feature_reuse": 3},
    {"quantize": "int8", "num_steps": 8},
    {"quantize": "int8", "num_steps": 8, "guidance_interval": LATE},
)


def name_of(options: dict[str, Any]) -> str:
    """The options in words, such as "num_steps 8, guidance_interval 0.0:0.5"."""
    words = {k: ":".join(map(str, v)) if isinstance(v, tuple) else v for k, v in options.items()}
    return ", ".join(f"{key} {value}" for key, value in words.items()) or "all as the preset has it"


def models_of(folder: str) -> dict[str | None, Any]:
    """The model, and where the backend can quantise it that as well, by mode."""
    models: dict[str | None, Any] = {None: StableDiffusion.from_preset(folder)}
    other = StableDiffusion.from_preset(folder)
    with suppress(ValueError):  # on other backends than OpenVINO
        other.quantize("int8")
        models["int8"] = other
    return models


def decibels(pictures: np.ndarray, others: np.ndarray) -> float:
    """The median peak signal-to-noise ratio of pictures (B, H, W, 3) to others."""
    difference = pictures.astype("float32") - others.astype("float32")
    error = np.mean(difference**2, axis=(1, 2, 3))
    return float(np.median(10 * np.log10(255**2 / np.maximum(error, 1e-3))))


def quality(
    draw: Draw,
    asked: dict[str, list[Scene]],
    judge: Judge,
    full: dict[str, np.ndarray],
) -> dict[str, Any]:
    """The figures of a row; ``full`` has the pictures of the first row by kind."""
    figures: dict[str, Any] = {}
    for kind in KINDS:
        pictures = draw(asked[kind])
        full.setdefault(kind, pictures)
        figures |= score(kind, asked[kind], pictures, judge)
        figures[f"{kind}: count"] = figures.pop("count")
    return figures | {"psnr": decibels(pictures, full[kind])}  # of the last kind


def seconds(models: dict[str | None, Any], rounds: int, found: dict[str, dict[str, Any]]) -> None:
    """Seconds of the denoising loop for a batch: row after row, the median goes to ``found``.

    Each is timed behind a call of its own, since executables of other rows may have taken the place
    of its own. ``processor`` is the time of all cores together, which says something on a busy
    machine too.
    """
    values: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    for _ in range(rounds):
        for options in rows(models):
            model, given = split(models, options)
            loop(model, given)
            values[name_of(options)].append(loop(model, given))
    for name, each in values.items():
        wall, processor = (statistics.median(kind) for kind in zip(*each, strict=True))
        found[name] |= {"seconds": wall, "processor": processor}


def loop(model: Any, options: dict[str, Any]) -> tuple[float, float]:
    """Seconds of one denoising loop, by the clock and of the processor."""
    fields = {OURS.get(name, name): value for name, value in options.items()}
    request = model.completed("a red apple", count=BATCH, seed=1, **fields)
    prepared = generation.begin(model.parts, request.singles())
    start, used = time.perf_counter(), time.process_time()
    deque(generation.denoise(model.parts, prepared), maxlen=0)
    return time.perf_counter() - start, time.process_time() - used


def table(found: dict[str, dict[str, Any]]) -> str:
    """What was found, in Markdown."""
    names = ("options", "seconds", "of processor", "times less", "top-1", "top-5", "colour", "PSNR")
    lines = [names, ("---",) * len(names)]
    whole = found[name_of({})].get("processor")
    for name, row in found.items():
        percent = [f"{100 * row[k]:.1f} %" if k in row else "" for k in ("top1", "top5", "colour")]
        time = [""] * 3
        if whole and "processor" in row:
            time = [f"{row['seconds']:.2f}", f"{row['processor']:.2f}"]
            time.append(f"{whole / row['processor']:.1f}")
        ratio = f"{row['psnr']:.1f} dB" if 0 < row.get("psnr", 0) < 70 else ""
        lines.append((name, *time, *percent, ratio))
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def rows(models: dict[str | None, Any]) -> list[dict[str, Any]]:
    """Those that can be measured here."""
    return [options for options in ROWS if options.get("quantize") in models]


def split(models: dict[str | None, Any], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The model of a row, and what else it asks for."""
    given = dict(options)
    return models[given.pop("quantize", None)], given


def read(path: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """What earlier runs found of each row."""
    stored = json.loads(path.read_text()) if path.exists() else {}
    return {name: stored.get(name, {}) for name in names}


def write(work: Path, found: dict[str, dict[str, Any]]) -> None:
    (work / "fewer.json").write_text(json.dumps(found, indent=2) + "\n")
    (work / "fewer.md").write_text(table(found))


def main() -> None:
    config, work, folder, count, rounds, minutes = arguments(
        __doc__,
        folder={"default": "mini", "help": "a preset or a diffusers folder"},
        count={"type": int, "default": 160, "help": "questions of each kind"},
        rounds={"type": int, "default": 5, "help": "of the measurement of time"},
        minutes={"type": float, "default": float("inf")},
    )
    end = time.monotonic() + 60 * minutes
    models = models_of(folder)
    found = read(work / "fewer.json", [name_of(options) for options in rows(models)])
    full: dict[str, np.ndarray] = {}
    if count:
        composer = open_composer(config, work)
        judge = Judge(composer)
        judge.train_or_load(work / "judge.weights.h5", JUDGE_STEPS)
        asked = questions(composer, count)
        for options in rows(models):
            row = found[name_of(options)]
            if options and ("psnr" in row or time.monotonic() > end):
                continue
            model, given = split(models, options)
            row |= quality(generator(model, **given), asked, judge, full)
            log.info("%s: %s", name_of(options), row)
            write(work, found)
    if rounds:
        seconds(models, rounds, found)
        write(work, found)


if __name__ == "__main__":
    main()
