"""`sfumato models ls|pull|rm|verify`: which models there are, and which of them are here."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from sfumato.cli import terminal
from sfumato.cli.help import UsageError

if TYPE_CHECKING:
    from sfumato.checkpoints.shelf import Entry

WIDE = 1000  # characters


def run(options: argparse.Namespace) -> int:
    """Do one thing with every model named; 1 if it failed for one of them."""
    from sfumato.checkpoints import shelf
    from sfumato.presets import PRESETS

    names: list[str] = options.name
    if not names:
        if options.action in ("pull", "rm"):
            raise UsageError(f"name the model: `sfumato models {options.action} MODEL`")
        names = list(PRESETS)
    try:
        entries = [shelf.look_up(name) for name in names]
    except ValueError as error:
        raise UsageError(str(error)) from error
    if options.action == "ls":
        return _list(entries, options.json)
    if options.action == "verify" and not options.name:
        entries = [entry for entry in entries if shelf.has_files(entry)]
    action = {"pull": _pull, "rm": _remove, "verify": _verify}[options.action]
    return max((_report(entry, action, options.json) for entry in entries), default=0)


def _list(entries: list[Entry], as_json: bool) -> int:
    if as_json:
        for entry in entries:
            terminal.write(json.dumps(_facts(entry)))
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("model", style="cyan", no_wrap=True)
    for heading in ("pixels", "here", "licence"):
        table.add_column(heading, no_wrap=True)
    table.add_column()
    for entry in entries:
        facts = _facts(entry)
        pixels = str(facts["size"] or "")
        table.add_row(entry.name, pixels, _place(entry), facts["license"], facts["description"])
    # Other programs get a line for each model, however long it is.
    width = None if sys.stdout.isatty() else WIDE
    Console(width=width, markup=False, emoji=False, highlight=False).print(table)
    return 0


def _facts(entry: Entry) -> dict[str, Any]:
    preset = entry.address.preset
    return {
        "name": entry.name,
        "description": preset.description if preset else "",
        "repository": entry.address.repository,
        "revision": entry.address.revision if entry.address.repository else "",
        "size": preset.size if preset else None,
        "license": preset.license if preset else "",
        "path": None if entry.path is None else str(entry.path),
        "bytes": entry.bytes,
    }


def _place(entry: Entry) -> str:
    if entry.path is None:
        return "-" if entry.address.repository else "missing"
    return in_words(entry.bytes) if entry.address.repository else "in the package"


def in_words(size: float) -> str:
    """A number of bytes as people say it: `3.4 GB`."""
    for unit in ("B", "KB", "MB"):
        if size < 999.5:  # what would be written as 1e+03
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


Action: TypeAlias = "Callable[[Entry], tuple[bool, str]]"


def _report(entry: Entry, action: Action, as_json: bool) -> int:
    """Do it, say how it went, and return the exit code."""
    done, message = action(entry)
    if as_json:
        terminal.write(json.dumps({"name": entry.name, "ok": done, "message": message}))
    elif done:
        terminal.write(f"{entry.name}: {message}")
    else:
        terminal.complain(f"error: {entry.name}: {message}")
    return 0 if done else 1


def _pull(entry: Entry) -> tuple[bool, str]:
    """The Hub's own progress goes to stderr; a download that was interrupted goes on."""
    from sfumato.checkpoints import CheckpointError, hub

    try:
        path = hub.download(entry.address)
        if (preset := entry.address.preset) and preset.base:
            hub.resolve(preset.base)
        return True, str(path)
    except (FileNotFoundError, CheckpointError) as error:
        return False, terminal.in_one_line(error)


def _remove(entry: Entry) -> tuple[bool, str]:
    from sfumato.checkpoints import shelf

    repository, revision, file, _ = entry.address
    if not repository:
        return False, "is part of the package"
    if file:
        return False, f"is one file; `models rm {repository}@{revision}` removes all that is here"
    if folder := shelf.broken_folder(entry):
        return False, f"is broken in the cache; remove the folder `{folder}`"
    freed = shelf.remove(entry)
    return True, f"removed, {in_words(freed)} freed" if freed else "was not here"


def _verify(entry: Entry) -> tuple[bool, str]:
    from sfumato.checkpoints import shelf

    if wrong := shelf.damaged(entry):
        return False, f"damaged: {', '.join(wrong)} (`models rm`, then `models pull`)"
    if entry.path is None:
        return False, "is not complete (`models pull`)" if shelf.has_files(entry) else "is not here"
    return True, "intact"
