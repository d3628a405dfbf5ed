"""What to paint: the options of `sfumato generate`, completed by a recipe and by defaults."""

from __future__ import annotations

import argparse
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.cli import engine
from sfumato.cli.arguments import COMMANDS
from sfumato.cli.help import UsageError
from sfumato.cli.names import OTHER_PICTURES, PICTURES
from sfumato.cli.terminal import warn

if TYPE_CHECKING:
    from sfumato.pictures import Recipe

PRECISION = "Precision"
QUANTIZATION = "Quantization"
# What a recipe may say beyond its fields without changing our picture.
HARMLESS = {PRECISION, QUANTIZATION, "RNG"}
# The options that change the picture to save work: name in the recipe, name in Python.
SHORTCUTS = {
    "Guidance interval": "guidance_interval",
    "Feature reuse": "feature_reuse",
    "Token merging": "token_merging",
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
            model=_public_name(self.model),
            version=f"Sfumato {__version__}",
            extra={"RNG": "NV"}
            | ({PRECISION: self.dtype} if self.dtype else {})
            | ({QUANTIZATION: self.quantize} if self.quantize else {})
            | {
                key: _written(self.shortcuts[name])
                for key, name in SHORTCUTS.items()
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
        negative_prompt=options.negative or None,  # a recipe does not tell "" from none
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
            for name in SHORTCUTS.values()
            if (value := getattr(options, name)) is not None
        },
        quantize=options.quantize,
        out=out,
    )


def _names(sampler: str | None, schedule: str | None) -> tuple[str | None, str | None]:
    """Canonical names of sampler and schedule."""
    from sfumato.diffusion import find_schedule

    if schedule is not None and schedule.casefold() == "automatic":  # A1111: the sampler's own
        schedule = None
    try:
        sampler, own = (None, None) if sampler is None else _sampler(sampler)
        return sampler, own if schedule is None else find_schedule(schedule).name
    except ValueError as error:
        raise UsageError(str(error)) from error


def _sampler(label: str) -> tuple[str, str | None]:
    """Its name, and that of the schedule that A1111 once put behind it: "DPM++ 2M Karras"."""
    from sfumato.diffusion import find_sampler, find_schedule

    try:
        return find_sampler(label).name, None
    except ValueError:
        sampler, _, schedule = label.rpartition(" ")
        with suppress(ValueError):
            return find_sampler(sampler).name, find_schedule(schedule).name
        raise


def _load_recipe(source: str) -> Recipe:
    from sfumato.pictures import load_recipe

    recipe = load_recipe(Path(source))
    if recipe is None:
        raise ValueError(f"{source} carries no recipe")
    # A1111 writes a strength for its second pass, too, which is left out here.
    if recipe.strength is not None and not any(key.startswith("Hires") for key in recipe.extra):
        raise ValueError(f"{source} was made from another picture, which its recipe does not hold")
    if unused := [key for key in recipe.extra if key not in HARMLESS | SHORTCUTS.keys()]:
        warn(f"not used from the recipe of {source}: {', '.join(unused)}")
    if recipe.extra.get("RNG", "NV") not in ("NV", "GPU"):
        warn(f"{source} was made from other random numbers; the picture will differ")
    return recipe


def _written(value: Any) -> str:
    """A number, or two as `0.2:0.8`."""
    return ":".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _public_name(model: str) -> str:
    """The model's name in a recipe: of a path the last part, as the rest tells who painted it."""
    from sfumato import presets

    path = Path(model).expanduser()
    if presets.find(model) or not path.exists():
        return model
    name = path.resolve().name
    return f"./{name}" if presets.find(name) else name


def _filled(options: argparse.Namespace, recipe: Recipe) -> argparse.Namespace:
    """The options, and from the recipe what they leave open.

    The file may be a stranger's, so what it says is read as if it stood on the command line.
    """
    stated = {
        "negative": recipe.negative_prompt or None,
        "model": recipe.model,
        "size": recipe.size,
        "steps": recipe.steps,
        "guidance": recipe.guidance,
        # A schedule belongs to its sampler: another sampler brings another one.
        "schedule": recipe.schedule if options.sampler is None else None,
        "sampler": recipe.sampler,
        "seed": recipe.seed,
        "dtype": recipe.extra.get(PRECISION),
        "quantize": recipe.extra.get(QUANTIZATION),
        **{name: recipe.extra.get(key) for key, name in SHORTCUTS.items()},
    }
    given = {name: value for name, value in vars(options).items() if value not in (None, [])}
    left_open = {k: v for k, v in stated.items() if v is not None and k not in given}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in left_open.items()]
    try:
        read = COMMANDS["generate"].parser().read(words)
    except UsageError as error:
        raise ValueError(f"the recipe says what cannot be: {error}") from error
    if "model" in left_open:
        _check_at_hand(read.model)
    return argparse.Namespace(**vars(read) | {"prompt": [recipe.prompt]} | given)


def _check_at_hand(model: str) -> None:
    """Refuse a model that a recipe names unless it is a preset or on this machine already."""
    from sfumato import presets
    from sfumato.checkpoints import hub

    if presets.find(model):
        return
    with suppress(OSError, ValueError, RuntimeError):
        # Windows logs in to the server of a path such as \\server\folder when it looks there.
        if not re.match(r"[\\/]{2}", model):
            hub.resolve(model, offline=True)
            return
    raise UsageError(f"the recipe's model is not at hand; name it with --model. Received: {model}")
