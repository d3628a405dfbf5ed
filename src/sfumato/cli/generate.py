"""`sfumato generate PROMPT...`: pictures from words."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sfumato._backend import import_keras
from sfumato.cli.asked import read_arguments
from sfumato.cli.film import Film
from sfumato.cli.info import described
from sfumato.cli.names import check_writable, claim
from sfumato.cli.progress import Progress
from sfumato.cli.terminal import Interruption

if TYPE_CHECKING:
    from pathlib import Path

    from sfumato.checkpoints import Prediction
    from sfumato.picture import Picture
    from sfumato.request import Request
    from sfumato.stable_diffusion import StableDiffusion

DEFAULT_MODEL = "mini"


def run(options: argparse.Namespace) -> int:
    """Make all pictures of the command; those of a batch are on disk before the next begins."""
    asked = read_arguments(options)
    for place in (options.out, options.preview, options.gif):
        check_writable(place)
    film = Film(options.preview, options.gif)
    name = asked.request.model or DEFAULT_MODEL

    with Progress(options.quiet) as progress:
        progress.doing(f"loading {name}")
        model = open_model(name, asked.request.dtype, prediction=options.prediction)
        request = asked.completed(model.model)
        if request.quantize:
            progress.doing(f"measuring {name} for {request.quantize}")
            size = (request.height, request.width)
            model = open_model(name, request.dtype, *size, prediction=options.prediction)
            model.quantize(request.quantize)

        with Interruption() as interruption:
            for each in asked.requests(model.model, request):
                for batch in each.batches(options.batch):
                    interruption.check()
                    start = time.perf_counter()
                    painted = _painted(model, batch, progress, film, interruption)
                    for picture in painted:
                        path = _save(picture, options)
                        film.keep(picture)
                        seconds = (time.perf_counter() - start) / batch.count
                        line = _line(path, picture, seconds) if options.json else str(path)
                        progress.write(line)
            interruption.check()
    return 0


def open_model(
    name: str,
    dtype: str | None,
    height: int | None = None,
    width: int | None = None,
    prediction: Prediction | None = None,
) -> StableDiffusion:
    """The model, for pictures of a size or of its own."""
    import_keras(alone=True)
    from sfumato import StableDiffusion

    return StableDiffusion.from_preset(name, height, width, dtype=dtype, prediction=prediction)


def _painted(
    model: StableDiffusion,
    request: Request,
    progress: Progress,
    film: Film,
    interruption: Interruption,
) -> Iterator[Picture]:
    """The pictures of a batch; shows each step on the way."""
    from sfumato.picture import Picture

    progress.doing(_title(request))
    for event in model.stream(request):
        if isinstance(event, Picture):
            yield event
            continue
        progress.step(event.step, event.steps)
        film.show(event)
        if event.step < event.steps:  # the last one is done: let it be decoded and saved
            interruption.check()


def _save(picture: Picture, options: argparse.Namespace) -> Path:
    """Write one picture under a name that nothing has yet."""
    with claim(options.out, picture.request.seed or 0, picture.request.prompt) as path:
        return picture.save(path, recipe=not options.no_metadata)


def _title(request: Request, width: int = 32) -> str:
    """The title of a picture that is being painted, short enough to leave room for the bar."""
    words = " ".join(request.prompt.split())
    words = words if len(words) <= width else f"{words[: width - 1]}…"
    last = (request.seed or 0) + request.count - 1
    return f"{words}, seed {request.seed}" + (f" to {last}" if request.count > 1 else "")


def _line(path: Path, picture: Picture, seconds: float) -> str:
    """One picture as a JSON object."""
    entry = {"path": str(path), "seconds": round(seconds, 3)}
    return json.dumps(entry | described(picture.request.recipe()))
