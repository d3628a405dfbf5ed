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
from sfumato.cli.recipes import load_recipe
from sfumato.cli.sizes import shaped
from sfumato.cli.terminal import warn
from sfumato.request import Request
from sfumato.request.embeddings import lost
from sfumato.request.fields import RequestError, specs
from sfumato.request.grids import Axis, cells, checked_axes
from sfumato.request.loras import TAG
from sfumato.request.pictured import HASHES

if TYPE_CHECKING:
    from sfumato.checkpoints import Model
    from sfumato.pictures import Recipe

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
    pictures: list[dict[str, Path]]
    """The files of each later picture to begin from, as fields. One is read when its turn comes."""

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

    def later(self, request: Request, files: dict[str, Path]) -> Request:
        """One of the requests, to begin from the files of a later picture."""
        with blaming(self.given, self.recipe):
            return request.changed(**files) if files else request


def read_arguments(options: argparse.Namespace) -> Asked:
    """The request of the arguments; the recipe of `--from` says what they leave open.

    The recipe may be a stranger's. Nothing is fetched, and no file opened, because it says so.
    """
    given = {name: value for name, value in vars(options).items() if name in specs(Request)}
    words = given.pop("prompt")
    pictures = _pictures(given)
    prompts = [text for word in words for text in (read_piped() if word == "-" else [word])]
    if options.size:
        sides = (None, None) if isinstance(options.size, str) else options.size
        given = dict(zip(("width", "height"), sides, strict=True)) | given

    recipe = None
    if options.source:
        recipe = load_recipe(options.source)
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
    if recipe:
        for request, *_ in groups:
            _check_stated(request, recipe, given, options.source)
    _warn_of_networks([request for request, *_ in groups])
    shape = options.size if isinstance(options.size, str) else None
    return Asked(groups, axes, shape, given, recipe, pictures[1:])


def _pictures(given: dict[str, Any]) -> list[dict[str, Path]]:
    """The files that each picture begins from; of those that are given only the first stay."""
    files = {}
    for name in ("image", "mask"):
        if name in given:
            files[name] = [file for named in given[name] for file in named]
            given[name] = files[name][0]
    images, masks = files.get("image", []), files.get("mask", [])
    if len(masks) not in (0, 1, len(images)):
        received = f"{len(masks)} for {len(images)} pictures"
        raise UsageError(f"--mask must be one, or one for each picture. Received: {received}")
    masks = masks * len(images) if len(masks) == 1 else masks
    if not masks:
        return [{"image": image} for image in images]
    return [{"image": image, "mask": m} for image, m in zip(images, masks, strict=True)]


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


def _warn_of_networks(requests: list[Request]) -> None:
    """Warn of what other programs would not paint as words."""
    found = []
    for request in requests:
        reads = request.lora_folder is not None
        words = TAG.sub("", request.prompt) if reads else request.prompt
        found += NETWORK.findall(f"{words} {request.negative_prompt or ''}")
    if found:
        only = "prompts load LoRAs alone, and those of --lora-folder"
        warn(f"painted as words, as {only}: {', '.join(found[:3])}")


def _check_stated(request: Request, recipe: Recipe, given: dict[str, Any], source: str) -> None:
    """Refuse what a recipe states and cannot be had from it: a picture, a model of elsewhere."""
    if request.strength and request.image is None and "strength" not in given:
        name = f" ({request.image_name})" if request.image_name else ""
        message = f"was made from another picture{name}, which its recipe does not hold"
        raise ValueError(f"{source} {message}; name it with --image")
    is_part = request.mask_blur or request.inpaint_area != "whole" or HASHES["mask"] in recipe.items
    if is_part and not request.paints_part:
        message = "was painted with a mask, which its recipe does not hold"
        raise ValueError(f"{source} {message}; name it with --mask")
    if request.controls and "controls" not in given:
        message = "was painted with ControlNets, whose pictures its recipe does not hold"
        raise ValueError(f"{source} {message}; name them with --control")
    if request.image_prompts and "image_prompts" not in given:
        message = "was painted with pictures as prompts, which its recipe does not hold"
        raise ValueError(f"{source} {message}; name them with --image-prompt")
    if not request.embeddings and (names := lost({}, recipe.items)):
        named = ", ".join(names)
        warn(f"{source} was made with embeddings: {named}; name their folder with --embeddings")
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
