"""The ControlNets of a request that is completed: their files, and the pictures they are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sfumato._files import expanded
from sfumato.request import loras
from sfumato.request.adapter_kinds import plain_name
from sfumato.request.control import Control
from sfumato.request.fields import RequestError
from sfumato.request.pictured import canvas_of

if TYPE_CHECKING:
    import numpy as np

    from sfumato.request.request import Request


def with_controls(request: Request) -> Request:
    """The request with the paths of its ControlNets.

    Raises:
        RequestError: a file or a picture is missing, or a ControlNet ends before it starts.
    """
    if not request.controls:
        return request
    named = files_in(request.control_folder) if request.control_folder else {}
    controls = tuple(_completed(request, each, named) for each in request.controls)
    return request.changed(controls=controls)


def files_in(folder: str) -> dict[str, str]:
    """The ControlNets of a folder by name: files, and folders of diffusers."""
    folders = (file.parent for file in Path(folder).glob("*/config.json"))
    return loras.files_in(folder) | {path.name: str(path) for path in folders}


def _completed(request: Request, control: Control, named: dict[str, str]) -> Control:
    path = expanded(named.get(control.file, control.file))
    if not path.exists():
        must = "be files or folders, or names in `control_folder`"
        raise RequestError("controls", must, control.file)
    shown = repr(replace(control, file=plain_name(control.file)))  # clients see no path
    if control.image is None and request.image is None:
        must = "have a picture each, or the request one to begin from"
        raise RequestError("controls", must, shown)
    if control.preprocessor == "inpaint" and not request.paints_part:
        raise RequestError("mask", "be given for a ControlNet that is shown it", "mask=None")
    if not control.start < control.end:
        raise RequestError("controls", "start before they end", shown)
    return replace(control, file=str(path))


def hint_of(control: Control, request: Request) -> np.ndarray:
    """The picture that a ControlNet is shown for a picture, float32 (H, W, 3) of 0..1.

    One of its own is of the whole picture, also where only the masked part is painted.
    """
    from sfumato.pictures.canvas import resized
    from sfumato.pictures.hints import as_hint

    own, mask = control.image, None
    if request.image is not None:
        canvas = canvas_of(request)
        if own is not None:
            whole = resized(own, canvas.pixels.shape[:2], control.resize)
            canvas = canvas._replace(pixels=whole)
        pixels, mask = canvas.shown()
    else:
        assert own is not None
        assert request.height
        assert request.width
        pixels = resized(own, (request.height, request.width), control.resize)
    return as_hint(
        pixels, control.preprocessor, mask if control.preprocessor == "inpaint" else None
    )
