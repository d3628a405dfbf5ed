"""`sfumato batch TABLE`: a table of requests to pictures, also by many machines."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from sfumato.cli import terminal
from sfumato.cli.asked import blaming
from sfumato.cli.help import UsageError
from sfumato.cli.names import check_writable
from sfumato.cli.progress import Progress
from sfumato.cli.terminal import Interruption
from sfumato.request import Request
from sfumato.request.fields import specs
from sfumato.scale.batch import Batch, here
from sfumato.scale.batch import run as paint_table
from sfumato.scale.painting import Made


def run(options: argparse.Namespace) -> int:
    """Paint the table; 1 if rows of it could not be."""
    given = {name: value for name, value in vars(options).items() if name in specs(Request)}
    with blaming(given, None):
        Request(prompt="", **given)
    table, out = options.table.absolute(), options.out.absolute()
    check_writable(out)
    batch = Batch(table, out, given, options.batch)
    counts = {"new": 0, "there": 0, "bad": 0}
    flags: set[str] = set()
    with Progress(options.quiet) as progress, Interruption() as interruption:
        for outcome in paint_table(batch, _painting(batch, options, interruption), progress.expect):
            progress.finished()
            if not isinstance(outcome, Made):
                counts["bad"] += 1
            elif outcome.is_new:
                counts["new"] += 1
                for flag in {*outcome.flags} - flags:
                    terminal.warn(flag)
                flags |= {*outcome.flags}
                progress.write(_line(outcome, options))
            else:
                counts["there"] += 1
            interruption.check()
    if counts["there"] and not options.quiet:
        terminal.complain(f"{counts['there']} of the pictures were there already", "green")
    if counts["bad"]:
        terminal.complain(f"{counts['bad']} could not be painted: {out / 'bad.jsonl'} says why")
    return 1 if counts["bad"] else 0


def _painting(
    batch: Batch, options: argparse.Namespace, interruption: Interruption
) -> Callable[..., Any]:
    """What paints parts of the table."""
    if options.ray is None:
        return partial(here, batch.painter(interruption.check))
    from sfumato.scale import cluster

    try:
        workers = cluster.connect(options.ray, options.workers)
    except ModuleNotFoundError as error:
        raise UsageError(str(error)) from error
    return partial(cluster.paint, batch, workers)


def _line(made: Made, options: argparse.Namespace) -> str:
    path = str(options.out / made.path)
    return json.dumps(made.to_json() | {"path": path}) if options.json else path
