"""The command line: `sfumato generate`, `models`, `info`, `explain` and `gallery`.

Thin: it reads arguments, calls the library and writes what came out. Paths (or JSON lines) go to
stdout, progress and messages to stderr. Exit codes: 0 done, 1 failed, 2 misused, 130 interrupted.

Only the standard library is imported until a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from sfumato.cli import terminal
from sfumato.cli.arguments import COMMANDS, OVERVIEW
from sfumato.cli.help import UsageError

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # TensorFlow and XLA log their start-up to stderr, and the Hub's client every attempt to reach
    # it, unless told not to.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    terminal.take_any_text()
    with terminal.one_line_warnings():
        try:
            return _run(arguments)
        except SystemExit as stop:  # argparse: help was shown, or the arguments were wrong
            return stop.code if isinstance(stop.code, int) else FAILED
        except KeyboardInterrupt:
            terminal.complain("stopped")
            return INTERRUPTED
        except BrokenPipeError:  # the reader of stdout went away, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        except Exception as error:  # the last stop: one line instead of a traceback
            if os.environ.get("SFUMATO_DEBUG"):
                raise
            terminal.complain(f"error: {terminal.in_one_line(error)}")
            return MISUSED if isinstance(error, UsageError) else FAILED


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        terminal.write(OVERVIEW)
        return OK
    if arguments[0] in ("-V", "--version"):
        from sfumato import __version__

        terminal.write(f"sfumato {__version__}")
        return OK
    name, *rest = arguments
    if name not in COMMANDS:
        raise UsageError(
            f"there is no command {name!r}; commands: {', '.join(COMMANDS)} (`sfumato --help`)"
        )
    options = COMMANDS[name].parser().read(rest)
    if getattr(options, "quiet", False) or not (sys.stderr and sys.stderr.isatty()):
        # Read when the Hub's client is first imported, which is in the commands.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    command: Callable[..., int] = import_module(f"sfumato.cli.{name}").run
    return command(options)
