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
        self._all = 1
        self._done = 0

    def __enter__(self) -> Progress:
        self._rich.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def _stop(self) -> None:
        if not self._rich.disable:  # older versions of rich write an empty line nevertheless
            self._rich.stop()

    def expect(self, pictures: int) -> None:
        """Let the bar run over so many pictures from now on, if there are several."""
        self._all = pictures
        if pictures > 1:
            self._rich.reset(self._task, total=pictures, count=f"0/{pictures}")

    def doing(self, what: str) -> None:
        """Show `what`; the bar moves without saying how far, unless it is that of all pictures."""
        if self._all > 1:
            self._rich.update(self._task, description=_plain(what))
        else:
            self._rich.reset(self._task, description=_plain(what), total=None, count="")

    def step(self, step: int, steps: int, pictures: int = 1) -> None:
        """Show how many steps of these pictures are done."""
        if self._all > 1:
            self._rich.update(self._task, completed=self._done + pictures * step / steps)
        else:
            self._rich.update(self._task, completed=step, total=steps, count=f"{step}/{steps}")

    def finished(self) -> None:
        """Count a picture."""
        self._done += 1
        if self._all > 1:
            count = f"{self._done}/{self._all}"
            self._rich.update(self._task, completed=self._done, count=count)

    def write(self, line: str) -> None:
        """One result to stdout, without the bar in between where both share a terminal."""
        self._stop()
        terminal.write(line)
        self._rich.start()


def _plain(text: str) -> str:
    """Text in which rich reads no markup, as a prompt may hold square brackets."""
    from rich.markup import escape

    return escape(terminal.harmless(text))
