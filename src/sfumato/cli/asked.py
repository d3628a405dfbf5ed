"""From arguments to what is asked for: requests, in groups that belong together."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.cli.help import UsageError
from sfumato.cli.lines import read_lines, read_piped
from sfumato.cli.sizes import shaped
from sfumato.cli.terminal import warn
from sfumato.request import Request
from sfumato.request.fields import RequestError, specs
from sfumato.request.grids import Axis, cells, checked_axes

if TYPE_CHECKING:
    from sfumato.checkpoints import Model
    from sfumato.pictures import Recipe

# What a recipe may say beyond the fields of a request without changing our picture.
HARMLESS = {"RNG", "Version", "Model hash", "Hashes", "SDCPP"}
# Names of our random numbers: A1111's, those of a GPU under A1111, of stable-diffusion.cpp.
OUR_NOISE = {"nv", "gpu", "cuda"}
# How prompts of A1111 ask for a network: <lora:name:1>.
NETWORK = re.compile(r"<\w+:[^<>]+>")


@dataclass(frozen=True)
class Asked:
    """All that the arguments of `sfumato generate` say of the pictures."""

    groups: list[list[Request]]
    """Of each prompt its request, or those of its grid; not yet completed."""
    axes: tuple[Axis, ...]
    """Of the grids; empty: there are none."""
    shape: str | None
    """A word for the size, which only a model can tell."""
    given: dict[str, Any]
    """The fields that the arguments give."""
    recipe: Recipe | None
    """Says what they leave open."""

    @property
    def request(self) -> Request:
        """The first of all."""
        return self.groups[0][0]

    def completed(self, request: Request, model: Model) -> Request:
        """One of the requests with nothing left open."""
        if self.shape:
            width, height = shaped(self.shape, model.default_size)
            request = request.with_defaults(width=width, height=height)
        with blaming(self.given, self.recipe):
            return request.completed(model)


def read_arguments(options: argparse.Namespace) -> Asked:
    """The request of the arguments; the recipe of `--from` says what they leave open.

    The recipe may be a stranger's. Nothing is fetched, and no file opened, because it says so.
    """
    given = {name: value for name, value in vars(options).items() if name in specs(Request)}
    words = given.pop("prompt")
    prompts = [text for word in words for text in (read_piped() if word == "-" else [word])]
    if options.size:
        sides = (None, None) if isinstance(options.size, str) else options.size
        given = dict(zip(("width", "height"), sides, strict=True)) | given

    recipe = None
    if options.source:
        recipe = _load_recipe(options.source)
        prompts = prompts if words or options.prompts else [recipe.prompt]
    changes = [{"prompt": prompt} for prompt in prompts]
    if options.prompts:
        changes += read_lines(options.prompts, (Request.stated(recipe) if recipe else {}) | given)
    if not changes:
        raise UsageError('there is nothing to paint; say what: `sfumato generate "a red apple"`')

    with blaming(given, recipe):
        groups = [[_request(recipe, given | own)] for own in changes]
        axes = checked_axes(options.grid)
        groups = [cells(request, axes) for (request,) in groups]
    for request, *_ in groups if recipe else ():
        _check_stated(request, given, options.source)
    _warn_of_networks([text for (one, *_) in groups for text in (one.prompt, one.negative_prompt)])
    shape = options.size if isinstance(options.size, str) else None
    return Asked(groups, axes, shape, given, recipe)


def _request(recipe: Recipe | None, changes: dict[str, Any]) -> Request:
    return Request.from_recipe(recipe, **changes) if recipe else Request(**changes)


@contextmanager
def blaming(given: dict[str, Any], recipe: Recipe | None) -> Iterator[None]:
    """Say of a RequestError whether an argument or the recipe is wrong."""
    try:
        yield
    except RequestError as error:
        flag = f"--{error.name.replace('_', '-')}"
        if recipe and error.name in Request.stated(recipe) and error.name not in given:
            message = f"the recipe says what cannot be: {error}; {flag} says something else"
            raise ValueError(message) from error
        raise UsageError(f"{flag} must {error.must}. Received: {error.received}") from error


def _load_recipe(source: str) -> Recipe:
    """The recipe of a picture; warns of what in it changes the picture and is not used."""
    from sfumato.pictures import load_recipe

    recipe = load_recipe(Path(source))
    if recipe is None:
        raise ValueError(f"{source} carries no recipe")
    if unused := [key for key in Request.unread(recipe) if key not in HARMLESS]:
        warn(f"not used from the recipe of {source}: {', '.join(unused)}")
    program = recipe.items.get("Version", "")
    noise = recipe.items.get("RNG", "CPU" if "ComfyUI" in program else "NV")
    if noise.casefold() not in OUR_NOISE:
        warn(f"{source} was made from other random numbers; the picture will differ")
    return recipe


def _warn_of_networks(texts: list[str | None]) -> None:
    """Warn of what other programs would not paint as words."""
    if found := [network for text in texts for network in NETWORK.findall(text or "")]:
        warn(f"painted as words, as prompts load no networks here yet: {', '.join(found[:3])}")


def _check_stated(request: Request, given: dict[str, Any], source: str) -> None:
    """Refuse what a recipe states and cannot be had from it: a picture, a model of elsewhere."""
    if request.strength and request.image is None and "strength" not in given:
        message = "was made from another picture, which its recipe does not hold"
        raise ValueError(f"{source} {message}; name it with --image")
    if request.model and "model" not in given:
        _check_is_here(request.model)


def _check_is_here(model: str) -> None:
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
    raise UsageError(f"the recipe's model is not here; name it with --model. Received: {model}")
