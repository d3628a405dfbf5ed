"""`sfumato generate PROMPT...`: pictures from words."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from typing import TYPE_CHECKING

from sfumato.cli import engine
from sfumato.cli.job import read_job
from sfumato.cli.names import check_writable, claim
from sfumato.cli.progress import Progress, StepEvent
from sfumato.cli.terminal import Interruption

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from sfumato.pictures import Recipe


def run(options: argparse.Namespace) -> int:
    """Make all pictures of the command; those of a batch are on disk before the next begins."""
    job = read_job(options)
    check_writable(job.out)
    with Progress(options.quiet) as progress:
        progress.doing(f"loading {job.model}")
        pipeline = engine.load_pipeline(job.model, job.size, job.dtype)
        if job.quantize:
            progress.doing(f"measuring {job.model} for {job.quantize}")
            pipeline.quantize(job.quantize)
        sampling = job.sampling(pipeline.checkpoint)
        with Interruption() as interruption:

            def watch(event: StepEvent) -> None:
                progress.step(event)
                if event.step < event.steps:  # the last one is done: let it be decoded and saved
                    interruption.check()

            for prompt, seed, count in job.batches():
                interruption.check()
                progress.doing(_title(prompt, seed, count))
                start = time.perf_counter()
                images = pipeline.text_to_image(
                    prompt,
                    negative_prompt=job.negative_prompt,
                    batch_size=count,
                    num_steps=sampling.steps,
                    unconditional_guidance_scale=sampling.guidance,
                    seed=seed,
                    sampler=sampling.sampler,
                    schedule=sampling.schedule,
                    **job.shortcuts,
                    on_step=watch,
                    verbose=False,
                )
                seconds = (time.perf_counter() - start) / count
                for number, image in enumerate(images):
                    size = (image.shape[1], image.shape[0])
                    recipe = job.recipe(sampling, prompt, seed + number, size)
                    path = _save(image, recipe, job.out, metadata=not options.no_metadata)
                    progress.write(_line(path, recipe, seconds) if options.json else str(path))
            interruption.check()
    return 0


def _save(image: np.ndarray, recipe: Recipe, out: Path, metadata: bool) -> Path:
    """Write one picture under a name that nothing has yet."""
    from sfumato.pictures import save

    with claim(out, recipe.seed or 0, recipe.prompt) as path:
        return save(path, image, recipe=recipe if metadata else None)


def _title(prompt: str, seed: int, count: int, width: int = 32) -> str:
    """What is being painted, short enough to leave room for the bar."""
    words = " ".join(prompt.split())
    words = words if len(words) <= width else f"{words[: width - 1]}…"
    return f"{words}, seed {seed}" + (f" to {seed + count - 1}" if count > 1 else "")


def _line(path: Path, recipe: Recipe, seconds: float) -> str:
    """One picture as a JSON object."""
    entry = {"path": str(path), "seconds": round(seconds, 3), **dataclasses.asdict(recipe)}
    return json.dumps(entry)
