"""`sfumato explain PROMPT...`: what a model reads of a prompt."""

from __future__ import annotations

import argparse
import json
import sys

from sfumato.cli import terminal
from sfumato.cli.asked import read_arguments
from sfumato.opening import DEFAULT_MODEL, open_model
from sfumato.request import seeds


def run(options: argparse.Namespace) -> int:
    """Print what is read of each prompt."""
    asked = read_arguments(options)
    model = open_model(asked.request.model or DEFAULT_MODEL, None)
    drawn = seeds.draw()
    for (request,) in asked.groups:
        request = request.with_defaults(**seeds.chosen(request, drawn))
        found = model.explain(asked.completed(request, model.model))
        shown = terminal.harmless if sys.stdout and sys.stdout.isatty() else str
        terminal.write(json.dumps(found.to_json()) if options.json else shown(str(found)))
    return 0
