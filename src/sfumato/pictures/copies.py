"""A picture's file with other pixels: what the file says goes along."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from sfumato._files import replacing
from sfumato.pictures.files import FORMATS, _metadata, load_recipe, opened
from sfumato.pictures.recipe import write_text


class Said(NamedTuple):
    """All that a file says besides its pixels."""

    texts: Mapping[str, str]
    """By the name of a PNG's chunk; "parameters" has the recipe."""
    exif: Image.Exif
    """Without an orientation: the picture stands upright."""
    profile: bytes | None
    """Of its colours."""


def said_by(path: Path) -> Said:
    """Read what a picture's file says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no picture that can be read.
    """
    with opened(path) as picture:
        if picture.format == "PNG":
            picture.load()  # reads the chunks behind the pixels, too
        exif, profile = picture.getexif(), picture.info.get("icc_profile")
        texts = {str(name): text for name, text in picture.info.items() if isinstance(text, str)}
        is_png = picture.format == "PNG"
    exif.pop(ExifTags.Base.Orientation, None)
    if not is_png:
        texts = {}
        with suppress(ValueError):  # a recipe in a form that is not read stays in its tag
            if recipe := load_recipe(path):
                texts["parameters"] = write_text(recipe)
    return Said(texts, exif, profile)


def save_copy(path: Path, pixels: np.ndarray, said: Said | None) -> None:
    """Write pixels (H, W, 3 or 4), uint8, in the format of the path's ending.

    Args:
        said: written into the file, as far as its format has a place for it.
    """
    kind = FORMATS[path.suffix.lower().removeprefix(".")]
    picture = Image.fromarray(pixels)
    if kind == "JPEG" and pixels.shape[-1] == 4:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")

    options: dict[str, Any] = {} if kind == "PNG" else {"quality": 95}
    if kind == "JPEG":
        options["subsampling"] = 0
    if said is not None:
        options |= _options(kind, said)
    file = io.BytesIO()
    picture.save(file, kind, **options)
    with replacing(path) as target:
        target.write(file.getvalue())


def _options(kind: str, said: Said) -> dict[str, Any]:
    """Pillow's options that put into a file what another said."""
    options: dict[str, Any] = {"icc_profile": said.profile} if said.profile else {}
    if len(said.exif):
        options["exif"] = said.exif
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        for name, text in said.texts.items():
            with suppress(ValueError):  # more than Pillow reads again
                _add(chunks, name, text)
        options["pnginfo"] = chunks
    elif "parameters" in said.texts and not _has_comment(said.exif):
        options |= _metadata(kind, said.texts["parameters"])
    return options


def _add(chunks: PngImagePlugin.PngInfo, name: str, text: str) -> None:
    add = chunks.add_text if text.isascii() else chunks.add_itxt
    add(name, str(text))


def _has_comment(exif: Image.Exif) -> bool:
    return ExifTags.Base.UserComment in exif.get_ifd(ExifTags.IFD.Exif)
