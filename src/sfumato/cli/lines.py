"""Prompts in a file or in standard input: one a line, or JSON with the fields of a request.

Such a command goes on where it was stopped: a picture that is there is not made again.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sfumato.cli.help import UsageError
from sfumato.cli.names import PICTURES, is_folder
from sfumato.request import Request, RequestError
from sfumato.request.rows import fields_of, seeded


def read_piped() -> list[str]:
    """The lines of standard input that are not blank, without spaces at their ends."""
    try:
        return _lines(sys.stdin.read() if sys.stdin else "")
    except UnicodeError as error:
        raise UsageError(f"standard input must be text ({error})") from error


def read_lines(source: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of each line of a file, or of standard input ("-").

    A line without a seed gets one that follows from its words, so that the same command asks for
    the same pictures. Lines that are the same, word for word, have different ones.

    Args:
        source: the file.
        given: the fields that are given otherwise; those of a line come first.
    """
    try:
        lines = read_piped() if source == "-" else _lines(Path(source).read_text("utf-8"))
    except UnicodeError as error:
        raise UsageError(
            f"--prompts must be a file of text ({error}). Received: {source}"
        ) from error
    counts: Counter[str] = Counter()
    found = []
    for line in lines:
        fields = _fields(line)
        counts[line] += 1
        found.append(seeded(fields, given, f"{counts[line]} {line}"))
    return found


def _lines(text: str) -> list[str]:
    return [each.strip() for each in text.removeprefix("\ufeff").split("\n") if each.strip()]


def _fields(line: str) -> dict[str, Any]:
    """The fields that a line states. Prompts of a1111 may begin with a brace, too."""
    if not line.startswith(('{"', "{}")):
        return {"prompt": line}
    try:
        return fields_of(json.loads(line))
    except (ValueError, RecursionError) as error:
        why = f"{error}" if isinstance(error, RequestError) else f"no JSON, {error}"
        short = line if len(line) <= 60 else f"{line[:59]}…"
        raise UsageError(f"--prompts has a line that cannot be: {why} ({short})") from error


class Made:
    """The pictures that a folder has already, by their recipes.

    Args:
        out: the folder, or the file whose name is numbered.
    """

    def __init__(self, out: Path) -> None:
        self.paths = dict(_recipes(out))

    def path_of(self, single: Request) -> Path | None:
        """The file of a completed request for one picture."""
        (drawn,) = single.singles()
        return self.paths.get(_key(drawn.recipe()))


def _recipes(out: Path) -> Iterator[tuple[Any, Path]]:
    from sfumato.pictures import load_recipe

    folder, stem = (out, "") if is_folder(out) else (out.parent, out.stem)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in PICTURES and path.name.startswith(stem):
            try:
                recipe = load_recipe(path)
            except (OSError, ValueError):  # damaged, such as that of a process that was killed
                continue
            if recipe:
                yield _key(recipe), path


def _key(recipe: Any) -> Any:
    items = {key: text for key, text in recipe.items.items() if key != "Version"}
    return recipe.prompt, recipe.negative_prompt, frozenset(items.items())


def missing(request: Request, size: int, made: Made) -> Iterator[Request | Path]:
    """A completed request in parts of up to ``size`` pictures; files of what is there."""
    for part in request.batches(size):
        singles = [*part.batches(1)]
        paths = [made.path_of(single) for single in singles]
        if any(paths):
            yield from (path or single for path, single in zip(paths, singles, strict=True))
        else:
            yield part
