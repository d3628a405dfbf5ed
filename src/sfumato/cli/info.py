"""`sfumato info FILE...`: the recipe that a picture carries."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.cli import terminal
from sfumato.cli.help import UsageError
from sfumato.cli.recipes import unfollowed

if TYPE_CHECKING:
    from sfumato.pictures import Recipe


def run(options: argparse.Namespace) -> int:
    """Print the recipe of every file; 1 if one of them has none."""
    if not options.file:
        raise UsageError("there is no picture to read; name one: `sfumato info FILE`")
    return max([_show(name, options.json, len(options.file) > 1) for name in options.file])


def described(recipe: Recipe) -> dict[str, Any]:
    """A recipe in JSON's types: the request that it states, and under "other" all other items.

    Where it states no request, "error" says why, and all items are under "other". "program" is
    another program that made the picture.
    """
    from sfumato.request import Request, RequestError

    try:
        fields, other = Request.from_recipe(recipe).to_json(), Request.unread(recipe)
    except RequestError as error:
        prompts = {"prompt": recipe.prompt, "negative_prompt": recipe.negative_prompt}
        fields, other = {**prompts, "error": str(error)}, dict(recipe.items)
    program = {"program": recipe.program} if recipe.program not in (None, "Sfumato") else {}
    return fields | ({"other": other} if other else {}) | program


def _show(name: str, as_json: bool, with_name: bool) -> int:
    """Print one recipe; returns the exit code."""
    from sfumato.pictures import load_recipe, write_text

    try:
        recipe = load_recipe(Path(name))
    except (OSError, ValueError) as error:
        terminal.complain(f"error: {terminal.in_one_line(error)}")
        return 1
    if recipe is None:
        terminal.complain(f"{name} carries no recipe")
        return 1
    if as_json:
        terminal.write(json.dumps({"path": name} | described(recipe)))
        return 0
    shown = terminal.harmless if sys.stdout and sys.stdout.isatty() else str
    if with_name:
        terminal.write(shown(name))
    terminal.write(shown(write_text(recipe)))
    if recipe.program not in (None, "Sfumato"):
        unused = unfollowed(recipe)
        ending = f"; cannot be followed: {', '.join(unused)}" if unused else ""
        terminal.complain(f"{name} was made by {recipe.program}{ending}", "yellow")
    return 0
