"""The pictures that a request begins from: their canvas, their size, their digests in a recipe."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sfumato.checkpoints import Model
    from sfumato.pictures.canvas import Canvas
    from sfumato.request.request import Request

HASHES = {"image": "Image hash", "mask": "Mask hash"}
"""The items of a recipe that tell the pictures it was made from."""


def file_name(image: Any) -> str | None:
    """The name of the file that a picture comes from, without its folder; None: unknown."""
    name = image if isinstance(image, (str, os.PathLike)) else getattr(image, "filename", "")
    return Path(name).name or None if isinstance(name, (str, os.PathLike)) else None


def canvas_of(request: Request) -> Canvas:
    """The canvas of a completed request that begins from a picture."""
    from sfumato.pictures.canvas import make_canvas

    assert request.image is not None
    assert request.height
    assert request.width
    return make_canvas(
        request.image,
        request.mask,
        (request.height, request.width),
        request.resize,
        request.extend,
        request.mask_blur,
        request.padding if request.inpaint_area == "masked" else None,
    )


def sides_of(request: Request) -> tuple[int, int]:
    """Height and width of the given picture with what is added to it."""
    assert request.image is not None
    height, width = request.image.shape[:2]
    added = {side: request.extend.get(side, 0) for side in ("top", "bottom", "left", "right")}
    return height + added["top"] + added["bottom"], width + added["left"] + added["right"]


def keeps_size(stated: Mapping[str, Any]) -> bool:
    """Whether a size is none of the given picture's, by the fields or what a recipe says of them.

    A picture may be resized to it, or only the masked part be painted at it.
    """
    area = stated.get("inpaint_area") or ""
    return bool(stated.get("resize")) or area.casefold().endswith("masked")


def own_size(request: Request, model: Model) -> tuple[int, int]:
    """Height and width of what is painted where the request does not say it.

    A picture has its own size, less what a multiple of the model's grain leaves over if it is
    resized. A masked part is painted at the model's.
    """
    if request.image is None or request.inpaint_area == "masked":
        return model.default_size, model.default_size
    height, width = sides_of(request)
    if request.resize:
        grain = model.autoencoder_config.downsampling
        height, width = (max(side // grain, 1) * grain for side in (height, width))
    return height, width


def hashes(request: Request) -> dict[str, str]:
    """The items of a recipe for the pictures that a request begins from."""
    from sfumato.pictures.pixels import digest

    pictures = {key: getattr(request, name) for name, key in HASHES.items()}
    return {key: digest(pixels) for key, pixels in pictures.items() if pixels is not None}


def warn_of_others(request: Request, items: Mapping[str, str]) -> None:
    """Warn of pictures that are not those of a recipe's items."""
    for key, found in hashes(request).items():
        if items.get(key, found) != found:
            name = f" ({items['Image']})" if key == HASHES["image"] and "Image" in items else ""
            what = key.removesuffix(" hash").lower()
            warnings.warn(
                f"The {what} is not the one of the recipe{name}, so the picture will differ.",
                stacklevel=3,
            )
