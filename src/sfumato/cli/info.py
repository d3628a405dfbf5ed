"""`sfumato info FILE...`: the recipe that a picture carries."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from sfumato.cli import terminal
from sfumato.cli.help import UsageError


def run(options: argparse.Namespace) -> int:
    """Print the recipe of every file; 1 if one of them has none."""
    from sfumato.pictures import load_recipe, write_text

    if not options.file:
        raise UsageError("there is no picture to read; name one: `sfumato info FILE`")
    failed = False
    for name in options.file:
        recipe = load_recipe(Path(name))
        if recipe is None:
            terminal.complain(f"{name} carries no recipe")
            failed = True
            continue
        if options.json:
            terminal.write(json.dumps({"path": name, **dataclasses.asdict(recipe)}))
            continue
        if len(options.file) > 1:
            terminal.write(terminal.paint(name, "bold"))
        terminal.write(write_text(recipe))
    return int(failed)
