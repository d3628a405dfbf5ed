"""A parser whose help is pleasant to read and whose errors are one line.

argparse, because it starts in 10 ms; the frameworks built for looks need 100 ms and more before
the first line of help.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn

from sfumato.cli.terminal import paint, write

Rows = list[tuple[str, str]]


class UsageError(ValueError):
    """The command was asked for something that it cannot mean; exit code 2."""


class Parser(argparse.ArgumentParser):
    """The arguments of one command: `add("section", "-x", "--long", ...)`."""

    def __init__(self, name: str, summary: str, *examples: str) -> None:
        # Python 3.14 would colour by itself what is set in colour here.
        plain = {"color": False} if sys.version_info >= (3, 14) else {}
        super().__init__(f"sfumato {name}", add_help=False, allow_abbrev=False, **plain)
        self.summary = summary
        self.examples = examples
        self.places: list[str] = []
        self.sections: dict[str, Rows] = {}

    def add(self, section: str, *names: str, help: str = "", **options: object) -> None:  # noqa: A002
        """Declare an argument as argparse does, and where its help stands."""
        action = self.add_argument(*names, help=help, **options)  # pyright: ignore[reportArgumentType]
        value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
        row = (f"{', '.join(action.option_strings)} {value}".strip(), help)
        self.sections.setdefault(section, []).append(row)
        if not action.option_strings:
            self.places.append(value + "..." * (action.nargs in ("*", "+")))

    def read(self, arguments: list[str]) -> argparse.Namespace:
        """Options and places in any order; after `--` there are only places."""
        # argparse 3.11 takes options for options there too when they may be intermixed.
        end = arguments.index("--") if "--" in arguments else len(arguments)
        options = self.parse_intermixed_args(arguments[:end])
        if rest := arguments[end + 1 :]:
            *_, last = (action.dest for action in self._actions if not action.option_strings)
            setattr(options, last, [*getattr(options, last), *rest])
        return options

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (`{self.prog} --help`)")

    def print_help(self, file: Any = None) -> None:
        write(self.format_help().rstrip())  # at once: a reader that went away is noticed here

    def format_help(self) -> str:
        lines = [f"{paint(self.prog, 'bold')} {paint(' '.join(self.places), 'cyan')} [options]", ""]
        lines += [self.summary, *two_columns(self.sections)]
        if self.examples:
            lines += ["", paint("examples", "bold"), *(f"  {text}" for text in self.examples)]
        return "\n".join(lines) + "\n"


def two_columns(sections: dict[str, Rows]) -> list[str]:
    """Lines of titled lists: names on the left, what they are on the right."""
    width = max(len(name) for rows in sections.values() for name, _ in rows)
    lines = []
    for title, rows in sections.items():
        lines += ["", paint(title, "bold")]
        lines += [f"  {paint(name.ljust(width), 'cyan')}  {text}".rstrip() for name, text in rows]
    return lines
