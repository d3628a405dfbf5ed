"""The voice of the command line: results to stdout, progress and complaints to stderr."""

from __future__ import annotations

import codecs
import io
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def take_any_text() -> None:
    """Let stdout take paths that it cannot encode: as their bytes, or with escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # not where it was replaced, as in notebooks
        bytes_pass = os.name == "posix" and codecs.lookup(sys.stdout.encoding).name == "utf-8"
        sys.stdout.reconfigure(errors="surrogateescape" if bytes_pass else "backslashreplace")


def harmless(text: str) -> str:
    """A stranger's text with escapes for the characters that command a terminal."""
    control = "[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # all but tabs and line ends
    return re.sub(control, lambda match: f"\\x{ord(match[0]):02x}", text)


def write(line: str) -> None:
    """One result to stdout, at once: another program may be reading."""
    print(line, flush=True)


@cache
def console() -> Console:
    """The console on stderr; rich itself obeys NO_COLOR and TERM."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def complain(message: str, style: str = "red") -> None:
    """One line to stderr."""
    from rich.text import Text

    line = Text.assemble(("sfumato:", style), " ", harmless(message))
    console().print(line, soft_wrap=True)


def warn(message: str) -> None:
    """One line to stderr about something that may surprise."""
    complain(f"warning: {message}", "yellow")


def in_one_line(error: BaseException, limit: int = 1500) -> str:
    """The text of an error without line breaks and the tail of a compiler's report."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else f"{text[:limit]} ... (SFUMATO_DEBUG=1 shows all)"


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Show warnings meant for users as one line on stderr, each text once."""
    shown = set()

    def show(message: Warning | str, category: type[Warning], *place: object) -> None:
        if issubclass(category, UserWarning) and str(message) not in shown:
            shown.add(str(message))
            warn(" ".join(str(message).split()))

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        yield


class Interruption:
    """Ctrl-C once: stop at the next `check`. Twice: stop now.

    Use as a context around work that must not be cut in the middle of a step or of a file.
    """

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Interruption:
        import threading

        # Python delivers signals to the main thread and lets only that one listen.
        self._listening = threading.current_thread() is threading.main_thread()
        if self._listening:
            self._before = signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, *error: object) -> None:
        if self._listening:
            signal.signal(signal.SIGINT, self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        complain("stopping after this step (Ctrl-C again: now)", "yellow")

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.asked:
            raise KeyboardInterrupt
