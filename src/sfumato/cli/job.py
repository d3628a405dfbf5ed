"""What to paint: the options of `sfumato generate`, completed by a recipe and by defaults."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.cli import engine
from sfumato.cli.arguments import interval, share, whole
from sfumato.cli.help import UsageError
from sfumato.cli.names import OTHER_PICTURES, PICTURES
from sfumato.cli.terminal import warn

if TYPE_CHECKING:
    from sfumato.pictures import Recipe

PRECISION = "Precision"
QUANTIZATION = "Quantization"
# What a recipe may say beyond its fields without changing our picture.
HARMLESS = {PRECISION, QUANTIZATION, "RNG"}
# The options that change the picture to save work: name in the recipe, name in Python, reader.
SHORTCUTS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Guidance interval": ("guidance_interval", interval),
    "Feature reuse": ("feature_reuse", whole(1)),
    "Token merging": ("token_merging", share),
}


@dataclass(frozen=True)
class Sampling:
    """How the noise is taken out; names are canonical."""

    steps: int
    guidance: float
    sampler: str
    schedule: str


@dataclass(frozen=True)
class Job:
    """All that was asked for, checked. `None` is left to the model."""

    prompts: tuple[str, ...]
    negative_prompt: str | None
    model: str
    size: tuple[int, int] | str | None
    steps: int | None
    guidance: float | None
    sampler: str | None
    schedule: str | None
    seed: int
    count: int
    batch: int
    dtype: str | None
    shortcuts: dict[str, Any]
    quantize: str | None
    out: Path

    def batches(self) -> Iterator[tuple[str, int, int]]:
        """(prompt, first seed, number of pictures); every prompt starts from the same seed."""
        for prompt in self.prompts:
            for start in range(0, self.count, self.batch):
                yield prompt, self.seed + start, min(self.batch, self.count - start)

    def sampling(self, defaults: engine.Defaults) -> Sampling:
        """What was asked for, and the model's own way where nothing was."""
        from sfumato.diffusion import find_sampler, find_schedule

        own = defaults.schedule_for(self.sampler)
        sampler = find_sampler(self.sampler or defaults.sampler)
        return Sampling(
            steps=defaults.steps if self.steps is None else self.steps,
            guidance=defaults.guidance if self.guidance is None else self.guidance,
            sampler=sampler.name,
            schedule=find_schedule(self.schedule or own or sampler.schedule).name,
        )

    def recipe(self, sampling: Sampling, prompt: str, seed: int, size: tuple[int, int]) -> Recipe:
        """How to make one of the pictures again; `size` is (width, height)."""
        from sfumato import __version__
        from sfumato.diffusion import find_sampler, find_schedule
        from sfumato.pictures import Recipe

        return Recipe(
            prompt=prompt,
            negative_prompt=self.negative_prompt or "",
            steps=sampling.steps,
            sampler=find_sampler(sampling.sampler).label,
            schedule=find_schedule(sampling.schedule).label,
            guidance=sampling.guidance,
            seed=seed,
            width=size[0],
            height=size[1],
            model=self.model,
            version=f"Sfumato {__version__}",
            extra={"RNG": "NV"}
            | ({PRECISION: self.dtype} if self.dtype else {})
            | ({QUANTIZATION: self.quantize} if self.quantize else {})
            | {
                key: _written(self.shortcuts[name])
                for key, (name, _) in SHORTCUTS.items()
                if name in self.shortcuts
            },
        )


def read_job(options: argparse.Namespace) -> Job:
    """The job that the options ask for; what they leave open comes from `--from`, then defaults."""
    if options.source:
        options = _filled(options, _load_recipe(options.source))
    if not options.prompt:
        raise UsageError('there is nothing to paint; say what: `sfumato generate "a red apple"`')
    out = Path(options.out)
    if out.suffix.lower() in OTHER_PICTURES:
        raise UsageError(f"--out must be a folder or end in {', '.join(PICTURES)}. Received: {out}")
    sampler, schedule = _names(options.sampler, options.schedule)
    return Job(
        prompts=tuple(options.prompt),
        negative_prompt=options.negative,
        model=options.model or engine.DEFAULT_MODEL,
        size=options.size,
        steps=options.steps,
        guidance=options.guidance,
        sampler=sampler,
        schedule=schedule,
        seed=secrets.randbelow(2**32) if options.seed is None else options.seed,
        count=options.count,
        batch=options.batch,
        dtype=options.dtype,
        shortcuts={
            name: value
            for name, _ in SHORTCUTS.values()
            if (value := getattr(options, name)) is not None
        },
        quantize=options.quantize,
        out=out,
    )


def _names(sampler: str | None, schedule: str | None) -> tuple[str | None, str | None]:
    """Canonical names of sampler and schedule."""
    from sfumato.diffusion import find_sampler, find_schedule

    if schedule is not None and schedule.casefold() == "automatic":  # A1111: the sampler's own
        schedule = None
    try:
        return (
            None if sampler is None else find_sampler(sampler).name,
            None if schedule is None else find_schedule(schedule).name,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def _load_recipe(source: str) -> Recipe:
    from sfumato.pictures import load_recipe

    recipe = load_recipe(Path(source))
    if recipe is None:
        raise ValueError(f"{source} carries no recipe")
    if recipe.strength is not None:
        raise ValueError(f"{source} was made from another picture, which its recipe does not hold")
    if unused := [key for key in recipe.extra if key not in HARMLESS | SHORTCUTS.keys()]:
        warn(f"not used from the recipe of {source}: {', '.join(unused)}")
    if recipe.extra.get("RNG", "NV") not in ("NV", "GPU"):
        warn(f"{source} was made from other random numbers; the picture will differ")
    return recipe


def _written(value: Any) -> str:
    """A number, or two as `0.2:0.8`."""
    return ":".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _shortcuts(recipe: Recipe) -> dict[str, Any]:
    try:
        return {
            name: read(recipe.extra[key])
            for key, (name, read) in SHORTCUTS.items()
            if key in recipe.extra
        }
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"the recipe says what cannot be: it {error}") from error


def _filled(options: argparse.Namespace, recipe: Recipe) -> argparse.Namespace:
    """The options, and from the recipe what they leave open."""
    size = None if recipe.width is None or recipe.height is None else (recipe.width, recipe.height)
    stated = {
        "prompt": [recipe.prompt],
        "negative": recipe.negative_prompt or None,
        "model": recipe.model,
        "size": size,
        "steps": recipe.steps,
        "guidance": recipe.guidance,
        # A schedule belongs to its sampler: another sampler brings another one.
        "schedule": recipe.schedule if options.sampler is None else None,
        "sampler": recipe.sampler,
        "seed": recipe.seed,
        "dtype": recipe.extra.get(PRECISION),
        **_shortcuts(recipe),
        "quantize": recipe.extra.get(QUANTIZATION),
    }
    given = {name: value for name, value in vars(options).items() if value not in (None, [])}
    return argparse.Namespace(**vars(options) | stated | given)
