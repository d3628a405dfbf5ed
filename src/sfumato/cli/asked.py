"""From arguments to what is asked for: a request, and the prompts to make it for."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.cli.help import UsageError
from sfumato.cli.sizes import shaped
from sfumato.cli.terminal import warn
from sfumato.request import Request
from sfumato.request.fields import RequestError, specs

if TYPE_CHECKING:
    from sfumato.checkpoints import Model
    from sfumato.pictures import Recipe

# What a recipe may say beyond the fields of a request without changing our picture.
HARMLESS = {"RNG", "Version", "Model hash", "Hashes", "Lora hashes", "SDCPP"}
# Names of our random numbers: A1111's, those of a GPU under A1111, of stable-diffusion.cpp.
OUR_NOISE = {"nv", "gpu", "cuda"}
# How prompts of A1111 ask for a network: <lora:name:1>.
NETWORK = re.compile(r"<\w+:[^<>]+>")


@dataclass(frozen=True)
class Asked:
    """All that the arguments of `sfumato generate` say of the pictures."""

    prompts: list[str]
    request: Request
    """Of the first prompt, not yet completed."""
    shape: str | None
    """A word for the size, which only a model can tell."""
    given: dict[str, Any]
    """The fields that the arguments give."""
    recipe: Recipe | None
    """Says what they leave open."""

    def completed(self, model: Model) -> Request:
        """The request with nothing left open."""
        request = self.request
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
    prompts = [text for word in words for text in (_piped() if word == "-" else [word])]
    if options.size:
        sides = (None, None) if isinstance(options.size, str) else options.size
        given = dict(zip(("width", "height"), sides, strict=True)) | given

    recipe = None
    if options.source:
        recipe = _load_recipe(options.source)
        prompts = prompts if words else [recipe.prompt]
    if not prompts:
        raise UsageError('there is nothing to paint; say what: `sfumato generate "a red apple"`')

    with blaming(given, recipe):
        changes: dict[str, Any] = {**given, "prompt": prompts[0]}
        request = Request.from_recipe(recipe, **changes) if recipe else Request(**changes)
    if recipe:
        _check_stated(request, given, options.source)
    _warn_of_networks([*prompts, request.negative_prompt or ""], request.lora_folder)
    shape = options.size if isinstance(options.size, str) else None
    return Asked(prompts, request, shape, given, recipe)


def _piped() -> list[str]:
    """The prompts in standard input, each on a line."""
    try:
        lines = sys.stdin.read().removeprefix("\ufeff").split("\n") if sys.stdin else []
    except UnicodeError as error:
        raise UsageError(f"standard input must be text ({error})") from error
    return [line.strip() for line in lines if line.strip()]


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


def _warn_of_networks(texts: list[str], folder: str | None) -> None:
    """Warn of what other programs would not paint as words."""
    found = [network for text in texts for network in NETWORK.findall(text)]
    if found := [network for network in found if not (folder and network.startswith("<lora:"))]:
        kinds = "LoRAs of a --lora-folder" if folder is None else "LoRAs"
        warn(f"painted as words, as prompts load only {kinds}: {', '.join(found[:3])}")


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
