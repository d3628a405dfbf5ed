"""One line of progress on stderr, gone when the work is done; nothing where no one is watching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfumato.cli import terminal

if TYPE_CHECKING:
    from rich.progress import TaskID


class Progress:
    """A context that shows what is going on, unless `quiet` or where stderr is no terminal."""

    def __init__(self, quiet: bool = False) -> None:
        from rich import progress as rich

        console = terminal.console()
        self._rich = rich.Progress(
            rich.SpinnerColumn(),
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            rich.TextColumn("{task.fields[count]}"),
            rich.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
            redirect_stdout=False,  # rich would send stdout, where the paths go, to stderr
        )
        self._task: TaskID = self._rich.add_task("", total=None, count="")

    def __enter__(self) -> Progress:
        self._rich.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def _stop(self) -> None:
        if not self._rich.disable:  # older versions of rich write an empty line nevertheless
            self._rich.stop()

    def doing(self, what: str) -> None:
        """Show `what` with a bar that moves without saying how far."""
        self._rich.reset(self._task, description=_plain(what), total=None, count="")

    def step(self, step: int, steps: int) -> None:
        """Show how many steps are done."""
        self._rich.update(self._task, completed=step, total=steps, count=f"{step}/{steps}")

    def write(self, line: str) -> None:
        """One result to stdout, without the bar in between where both share a terminal."""
        self._stop()
        terminal.write(line)
        self._rich.start()


def _plain(text: str) -> str:
    """Text in which rich reads no markup, as a prompt may hold square brackets."""
    from rich.markup import escape

    return escape(terminal.harmless(text))
