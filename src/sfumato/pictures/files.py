"""Picture files: PNG, JPEG and WebP with their recipe inside, and animations.

A file replaces another of its name only when it is complete. Reading opens these three formats,
AVIF where Pillow has it, and no other, and checks a picture's size before anything is decoded.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from sfumato._files import replacing
from sfumato._numbers import MAX_PIXELS, as_number, whole_number
from sfumato.pictures.recipe import Recipe, read_text, write_text
from sfumato.pictures.texts import COMMENT, SOFTWARE, UNICODE, as_meant, texts_of

FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}
READ = (*FORMATS, "avif")
"""The endings of files that can be read."""

_EXIF_LIMIT = 65_533  # bytes in a segment of a JPEG file


def encode(
    image: np.ndarray, file_format: str = "png", recipe: Recipe | None = None, quality: int = 95
) -> bytes:
    """Encode one picture as the content of a file.

    Args:
        image: uint8 (H, W, 3).
        file_format: "png", "jpg", "jpeg" or "webp".
        recipe: written into the file, where other programs look for it: the PNG text chunk
            "parameters", otherwise the EXIF UserComment. `None` writes no metadata at all.
        quality: of JPEG and WebP, from 1 to 100.

    Raises:
        ValueError: an argument is not as above.

    Warns:
        UserWarning: the recipe does not fit into a JPEG (64 KB) and was left out.
    """
    quality = whole_number("quality", quality, 1, 100)
    picture = Image.fromarray(_checked(image))
    kind = FORMATS.get(file_format.lower())
    if kind is None:
        names = ", ".join(FORMATS)
        raise ValueError(f"`file_format` must be one of {names}. Received: {file_format!r}")

    options: dict[str, Any] = {} if kind == "PNG" else {"quality": quality}
    if kind == "JPEG":
        options["subsampling"] = 0  # colours at full resolution: thin red lines stay red
    if recipe is not None:
        options |= _metadata(kind, write_text(recipe))

    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def save(
    path: str | Path, image: np.ndarray, recipe: Recipe | None = None, quality: int = 95
) -> Path:
    """Write one picture, in the format of the suffix of `path`.

    Missing folders are made. The file is complete or not there at all, and replaces another of its
    name. Arguments, errors and warnings are those of `encode`.

    Returns:
        The path.
    """
    path = Path(path)
    content = encode(image, path.suffix.removeprefix("."), recipe, quality)
    return _write(path, content)


def save_animation(
    path: str | Path, images: Sequence[np.ndarray], fps: float = 10, rubber_band: bool = False
) -> Path:
    """Write pictures as an endless animation: a random walk, or the steps of one picture.

    Args:
        path: ends in .gif (256 colours a picture) or .webp.
        images: uint8 (N, H, W, 3), or a list of (H, W, 3).
        fps: pictures per second, at most 50 (what viewers of GIF can do).
        rubber_band: play backwards after the last picture.

    Raises:
        ValueError: an argument is not as above.
    """
    path = Path(path)
    kinds = {".gif": "GIF", ".webp": "WEBP"}
    if path.suffix.lower() not in kinds:
        raise ValueError(f"`path` must end in .gif or .webp. Received: path={path}")
    rate = _rate(fps)
    frames = [Image.fromarray(_checked(image)) for image in images]
    if not frames or any(frame.size != frames[0].size for frame in frames):
        sizes = sorted({frame.size for frame in frames})
        raise ValueError(f"`images` must be pictures of one size. Received: {sizes}")
    if rubber_band:
        frames += frames[-2:0:-1]

    # Times are whole milliseconds (GIF: hundredths), so round the frames' ends, not their lengths.
    unit = 10 if path.suffix.lower() == ".gif" else 1
    ends = [round(1000 * i / rate / unit) * unit for i in range(len(frames) + 1)]
    times = [after - before for before, after in pairwise(ends)]

    file = io.BytesIO()
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "loop": 0}
    frames[0].save(file, kinds[path.suffix.lower()], duration=times, **options)
    return _write(path, file.getvalue())


def load(path: str | os.PathLike[str] | BinaryIO, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a picture, upright, and of an animation the first: uint8 (H, W, 3).

    Transparent parts lie on white. ``path`` may be an open file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no PNG, JPEG or WebP picture, is damaged, or has too many pixels.
    """
    with opened(path, max_pixels) as picture:
        return upright(picture)


def upright(picture: Image.Image, see_through: bool = True) -> np.ndarray:
    """The pixels of one of Pillow's pictures as `load` has them.

    Args:
        see_through: False refuses a picture of which parts are transparent.

    Raises:
        ValueError: its kind of pixels is not known, or it is transparent.
    """
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits of grey, which `convert` would clip
        grey = np.asarray(picture).astype(np.float64) / 257
        if not 0 <= grey.min() <= grey.max() <= 255:
            raise ValueError("its values are not in 0..65535")
        return np.repeat(grey.round().astype(np.uint8)[..., None], 3, axis=-1)
    if picture.mode == "F":
        raise ValueError("numbers of floating point have no range: make an array of them")
    picture = picture.convert("RGBA")
    if not see_through and picture.getchannel("A").getextrema() != (255, 255):
        raise ValueError("parts of it are transparent, which says neither black nor white")
    white = Image.new("RGBA", picture.size, "white")
    return np.array(Image.alpha_composite(white, picture).convert("RGB"))


def named(path: str | os.PathLike[str]) -> list[Path]:
    """The pictures that a path names: one file, or all of a folder, by name.

    Each is looked at and none is decoded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: one is no picture that `load` reads, or the folder has none.
    """
    path = Path(path)
    files = [path]
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix.lower().removeprefix(".") in READ)
    if not files:
        raise ValueError(f"`path` must have pictures in it. Received: {path}")
    for file in files:
        with opened(file):
            pass
    return files


def load_recipe(
    path: str | os.PathLike[str] | BinaryIO, max_pixels: int = MAX_PIXELS
) -> Recipe | None:
    """Read the recipe in a picture file, or in an open one; `None` if there is none.

    Pixels are decoded only where a PNG has no text before them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no PNG, JPEG or WebP picture, is damaged, has too many pixels, or carries
            a recipe in a form that cannot be read; names the program whose form it is.
    """
    from sfumato.pictures.others import read_texts, renamed

    with opened(path, max_pixels) as picture:
        if picture.format == "PNG" and "parameters" not in picture.info:
            picture.load()  # reads the chunks behind the pixels, too
        texts = texts_of(picture)
    for place in ("parameters", "UserComment"):
        if recipe := read_text(texts.get(place, "")):
            return renamed(recipe)
    try:
        return read_texts(texts)
    except ValueError as error:
        raise ValueError(f"The picture {error}: {path}") from error


def _checked(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        received = f"{image.dtype} {image.shape}"
        raise ValueError(f"`image` must be uint8 (H, W, 3). Received: {received}")
    return image


def _rate(fps: Any) -> float:
    """Pictures per second; ValueError if it is no number that viewers can do."""
    with suppress(ValueError, OverflowError):
        if 0 < (rate := as_number(fps)) <= 50:
            return rate
    raise ValueError(f"`fps` must be above 0 and at most 50. Received: fps={fps!r}")


def _metadata(kind: str, text: str) -> dict[str, Any]:
    """Pillow's options that put `text` into a file."""
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        # tEXt; iTXt for what is not Latin-1, or what readers could take for UTF-8 in Latin-1
        add = chunks.add_text if as_meant(text) == text else chunks.add_itxt
        add("parameters", text)
        return {"pnginfo": chunks}
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = SOFTWARE
    comment = UNICODE + text.encode("utf-16-be")
    exif.get_ifd(ExifTags.IFD.Exif)[COMMENT] = comment
    size = len(exif.tobytes())
    if kind == "JPEG" and size > _EXIF_LIMIT:
        message = f"The recipe was left out: a JPEG holds {_EXIF_LIMIT} bytes. Received: {size}"
        warnings.warn(message, stacklevel=4)
        return {}
    return {"exif": exif}


@contextmanager
def opened(
    path: str | os.PathLike[str] | BinaryIO, max_pixels: int = MAX_PIXELS
) -> Iterator[Image.Image]:
    """Open a picture without decoding it; anything wrong with the file is a ValueError."""
    is_name = isinstance(path, (str, os.PathLike))
    with (
        Path(path).open("rb") if is_name else nullcontext(path) as file,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we have our own limit
        try:
            with Image.open(file, formats=_formats()) as picture:
                if picture.width * picture.height > max_pixels:
                    size = f"{picture.width}x{picture.height} in {path}"
                    raise ValueError(_too_large(max_pixels, size))
                yield picture
        except Image.DecompressionBombError as error:
            limit = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))  # ours or Pillow's
            raise ValueError(_too_large(limit, f"{path}")) from error
        except Image.UnidentifiedImageError as error:
            message = f"`path` must be a PNG, JPEG or WebP picture. Received: {path}"
            raise ValueError(message) from error
        except ValueError as error:
            if "MAX_TEXT" not in str(error):  # Pillow's limits
                raise
            raise ValueError(f"The picture has texts that are too long: {path}") from error
        except (OSError, SyntaxError, EOFError, KeyError, TypeError, struct.error) as error:
            raise ValueError(f"The picture is damaged: {path} ({error})") from error


def _formats() -> list[str]:
    """The formats that are opened; AVIF last, as Pillow loads all it has in looking for it."""
    from PIL import features

    has_avif = "avif" in features.modules  # not in Pillow 11.2 and before
    return [*sorted({*FORMATS.values()}), *(["AVIF"] if has_avif else [])]


def _too_large(limit: int, received: str) -> str:
    return f"A picture must have at most {limit} pixels. Received: {received}"


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(content)
    return path
