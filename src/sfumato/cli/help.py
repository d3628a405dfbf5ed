"""A parser whose errors are one line, exit code 2.

argparse, because it starts in 10 ms; the frameworks built for looks need 100 ms and more before
the first line of help.
"""

from __future__ import annotations

import argparse
import re
from functools import partial
from itertools import pairwise
from typing import Any, NoReturn

from sfumato.cli.terminal import write


class UsageError(ValueError):
    """The command was asked for something that it cannot mean; exit code 2."""


class Parser(argparse.ArgumentParser):
    """The arguments of one command, in sections: `add("section", "-x", "--long", ...)`."""

    def __init__(self, name: str, summary: str, places: str = "", *examples: str) -> None:
        lines = ["examples:", *(f"  {text}" for text in examples)] if examples else []
        super().__init__(
            f"sfumato {name}",
            usage=f"sfumato {name} {places}[options]",
            description=summary,
            epilog="\n".join(lines),
            formatter_class=partial(Formatter, max_help_position=28, width=80),
            add_help=False,
            allow_abbrev=False,
        )
        self.sections: dict[str, Any] = {}

    def add(self, section: str, *names: str, **options: Any) -> None:
        """Declare an argument as argparse does, and the section of its help."""
        if section not in self.sections:
            self.sections[section] = self.add_argument_group(section)
        self.sections[section].add_argument(*names, **options)

    def read(self, arguments: list[str]) -> argparse.Namespace:
        """Options and places in any order; after `--` there are only places."""
        self._words = arguments
        # argparse 3.11 takes options for options there too when they may be intermixed.
        end = arguments.index("--") if "--" in arguments else len(arguments)
        options = self.parse_intermixed_args(arguments[:end])
        if rest := arguments[end + 1 :]:
            *_, last = (action.dest for action in self._actions if not action.option_strings)
            setattr(options, last, [*getattr(options, last), *rest])
        return options

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ").replace(": must ", " must ", 1)
        message += self._way_out(message)
        raise UsageError(f"{message} (`{self.prog} --help`)")

    def _way_out(self, message: str) -> str:
        """How to write what begins with a dash and is no option, where that is the trouble."""
        names, _, trouble = message.partition(": ")
        if trouble == "expected one argument":
            for word, value in pairwise(self._words):
                if word in names.split("/") and value.startswith("-"):
                    return f"; if {value} is meant, write {word}={value}"
        if names == "unrecognized arguments" and re.search(r"(^| )-\w{2}", trouble):
            return "; a prompt that begins with a dash goes behind `--`"
        return ""

    def print_help(self, file: Any = None) -> None:
        write(self.format_help().rstrip())  # at once: a reader that went away is noticed here


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help with each name once: `-n, --count N`, `--loras FILE` (for `--lora`, too)."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        long = [name for name in action.option_strings if name.startswith("--")]
        short = [name for name in action.option_strings if name not in long]
        value = action.metavar or ""
        if action.nargs == 0:
            value = ""
        others = [name for name in long[1:] if not long[0].startswith(name)]
        return f"{', '.join([*short, *long[:1], *others])} {value}".strip()
