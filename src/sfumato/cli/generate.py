"""`sfumato generate PROMPT...`: pictures from words."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from sfumato.cli import terminal
from sfumato.cli.asked import Asked, read_arguments
from sfumato.cli.film import Film
from sfumato.cli.info import described
from sfumato.cli.lines import Made, missing
from sfumato.cli.names import check_writable, claim, is_folder
from sfumato.cli.progress import Progress
from sfumato.cli.terminal import Interruption
from sfumato.opening import Opened, open_model
from sfumato.request import Request, grids, seeds

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from sfumato.picture import Picture
    from sfumato.stable_diffusion import StableDiffusion


def run(options: argparse.Namespace) -> int:
    """Make all pictures of the command; those of a batch are on disk before the next begins."""
    asked = read_arguments(options)
    for place in (options.out, options.preview, options.gif):
        check_writable(place)

    with Progress(options.quiet) as progress:
        studio = Studio(options, progress)
        drawn = seeds.draw()  # every prompt starts from the same
        groups = studio.groups(asked, drawn)
        count = sum(request.count for group in groups for request in group)
        progress.expect(count * (1 + len(asked.pictures)))
        with Interruption() as studio.interruption:
            for files in [{}, *asked.pictures]:
                for group in studio.groups(asked, drawn, files) if files else groups:
                    paths = [path for request in group for path in studio.paint(request)]
                    if asked.axes:
                        sheet = grids.sheet(asked.axes, paths, group[0].prompt)
                        progress.write(_save_sheet(sheet, group[0].prompt, options))
            studio.interruption.check()
    if studio.found and not options.quiet:
        terminal.complain(f"{studio.found} of the pictures were there already", "green")
    return 0


class Studio:
    """The making of pictures one batch after the other, by the model that each names.

    Args:
        options: of the command.
        progress: shows what is going on.
    """

    def __init__(self, options: argparse.Namespace, progress: Progress) -> None:
        self.options = options
        self.progress = progress
        self.interruption = Interruption()
        self.film = Film(options.preview, options.gif)
        self.made = Made(options.out) if options.prompts else None
        self.found = 0
        self.flags: set[str] = set()
        opens = partial(open_model, prediction=options.prediction)
        self.models = Opened(opens, progress.doing)

    def groups(
        self, asked: Asked, drawn: dict[str, int], files: dict[str, Path] | None = None
    ) -> list[list[Request]]:
        """All requests with nothing left open, by their models and the seeds that were drawn.

        Args:
            asked: has the requests.
            drawn: the seeds.
            files: the picture to begin from, if it is not the first.
        """

        def completed(request: Request) -> Request:
            request = asked.later(request, files or {})
            request = request.with_defaults(**seeds.chosen(request, drawn))
            return asked.completed(request, self.models.plain(request).model)

        return [[completed(request) for request in group] for group in asked.groups]

    def paint(self, request: Request) -> Iterator[Path]:
        """The files of a completed request, new ones or those that are there already."""
        size = self.options.batch
        parts = missing(request, size, self.made) if self.made else request.batches(size)
        for part in parts:
            self.interruption.check()
            if isinstance(part, Request):
                yield from self.painted(part)
            else:
                self.found += 1
                self.progress.finished()
                yield part

    def painted(self, batch: Request) -> Iterator[Path]:
        """The files of a batch, once they are written and named on stdout."""
        model, start = self.models.ready(batch), time.perf_counter()
        for picture in self.pictures(model, batch):
            path = _save(picture, self.options)
            self.warn_of(picture)
            self.film.keep(picture)
            seconds = (time.perf_counter() - start) / batch.count
            self.progress.finished()
            self.progress.write(_line(path, picture, seconds) if self.options.json else str(path))
            yield path

    def warn_of(self, picture: Picture) -> None:
        """Say what a user should know of a picture, each thing once."""
        for flag in picture.flags:
            if flag not in self.flags:
                self.flags.add(flag)
                terminal.warn(flag)

    def pictures(self, model: StableDiffusion, batch: Request) -> Iterator[Picture]:
        """The pictures of a batch; shows each step on the way."""
        from sfumato.picture import Picture

        self.progress.doing(_title(batch))
        for event in model.stream(batch):
            if isinstance(event, Picture):
                yield event
                continue
            self.progress.step(event.step, event.steps, batch.count)
            self.film.show(event)
            if event.step < event.steps:  # the last one is done: let it be decoded and saved
                self.interruption.check()


def _save(picture: Picture, options: argparse.Namespace) -> Path:
    """Write one picture under a name that nothing has yet."""
    with claim(options.out, picture.request.seed or 0, picture.request.prompt) as path:
        return picture.save(path, recipe=not options.no_metadata)


def _save_sheet(sheet: np.ndarray, prompt: str, options: argparse.Namespace) -> str:
    """Write the contact sheet of a grid; returns its line for stdout."""
    from sfumato.pictures import save

    out = (
        options.out if is_folder(options.out) else options.out.with_stem(f"{options.out.stem}-grid")
    )
    with claim(out, "grid", prompt) as path:
        save(path, sheet)
    return json.dumps({"path": str(path), "grid": True}) if options.json else str(path)


def _title(request: Request, width: int = 32) -> str:
    """The title of a picture that is being painted, short enough to leave room for the bar."""
    words = " ".join(request.prompt.split())
    words = words if len(words) <= width else f"{words[: width - 1]}…"
    name = seeds.counted(request)
    first = getattr(request, name) or 0
    last = f" to {first + request.count - 1}" if request.count > 1 else ""
    return f"{words}, {name.replace('_', ' ')} {first}{last}"


def _line(path: Path, picture: Picture, seconds: float) -> str:
    """One picture as a JSON object."""
    entry: dict[str, Any] = {"path": str(path), "seconds": round(seconds, 3)}
    entry |= {"flags": [*picture.flags]} if picture.flags else {}
    return json.dumps(entry | described(picture.request.recipe()))
