"""`sfumato explain PROMPT...`: what a model reads of a prompt."""

from __future__ import annotations

import argparse
import json
import sys

from sfumato.cli import terminal
from sfumato.cli.asked import read_arguments
from sfumato.cli.generate import DEFAULT_MODEL, open_model


def run(options: argparse.Namespace) -> int:
    """Print what is read of each prompt."""
    asked = read_arguments(options)
    model = open_model(asked.request.model or DEFAULT_MODEL, None)
    request = asked.completed(model.model)
    for prompt in asked.prompts:
        found = model.explain(request.changed(prompt=prompt))
        shown = terminal.harmless if sys.stdout and sys.stdout.isatty() else str
        terminal.write(json.dumps(found.to_json()) if options.json else shown(str(found)))
    return 0
