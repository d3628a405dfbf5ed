"""`sfumato info FILE...`: the recipe that a picture carries."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from sfumato.cli import terminal
from sfumato.cli.help import UsageError


def run(options: argparse.Namespace) -> int:
    """Print the recipe of every file; 1 if one of them has none."""
    if not options.file:
        raise UsageError("there is no picture to read; name one: `sfumato info FILE`")
    return max([_show(name, options.json, len(options.file) > 1) for name in options.file])


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
        terminal.write(json.dumps({"path": name, **dataclasses.asdict(recipe)}))
        return 0
    shown = terminal.harmless if sys.stdout and sys.stdout.isatty() else str
    if with_name:
        terminal.write(terminal.paint(shown(name), "bold"))
    terminal.write(shown(write_text(recipe)))
    return 0
