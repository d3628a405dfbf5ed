"""Contact sheets: many pictures in one, with labels, pixel for pixel where there is room."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sfumato._numbers import whole_number
from sfumato.pictures.files import FORMATS, load
from sfumato.pictures.pixels import as_image

MOST = 2**24  # pixels of a sheet's pictures, above which they are made smaller
GAP = 8  # pixels between pictures
LEAST = 96  # pixels of a column with labels
LINES = 4  # of a label; a longer one ends in "…"


def contact_sheet(
    pictures: Sequence[Any],
    columns: int | None = None,
    *,
    labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    title: str = "",
    size: int | None = None,
) -> np.ndarray:
    """Lay pictures out in rows on a white sheet.

    Args:
        pictures: row by row: `Picture`, uint8 (H, W, 3) or files, which may differ in size.
        columns: pictures in a row; default: as many as `column_labels`, or a square.
        labels: a text below each picture.
        column_labels: a text above each column.
        row_labels: a text to the left of each row.
        title: a text above all.
        size: the most pixels of a side of a picture, above which it is made smaller; default: as
            they are, unless the sheet would have more than 16 million pixels.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: there is no picture, or there are more labels than places for them.
    """
    images = [Image.fromarray(as_image(getattr(each, "pixels", each))) for each in pictures]
    if not images:
        raise ValueError("`pictures` must hold at least one picture. Received: none")
    square = math.ceil(math.sqrt(len(images)))
    columns = whole_number("columns", columns or len(column_labels) or square, 1)
    rows = math.ceil(len(images) / columns)
    below = _filled("labels", labels, len(images))
    above = _filled("column_labels", column_labels, columns)
    left = _filled("row_labels", row_labels, rows)

    images = _reduced(images, size)
    width, height = (max(image.size[i] for image in images) for i in (0, 1))
    column = max(width, LEAST) if labels or column_labels else width
    from PIL import ImageFont  # with FreeType: most who import this module make no sheet

    font: Any = ImageFont.load_default(min(24, max(12, width // 16)))

    def texts(lines: list[str], most: int) -> list[Image.Image]:
        """Texts of one size, that of the largest."""
        drawn = [_drawn(_wrapped(text, most, font), font) for text in lines]
        return [_centred(each, *(max(d.size[i] for d in drawn) for i in (0, 1))) for each in drawn]

    cells = [_centred(image, column, height) for image in images]
    if labels:
        pairs = zip(cells, texts(below, column), strict=True)
        cells = [_joined([cell, _centred(text, column, text.height)], down=True)
                 for cell, text in pairs]  # fmt: skip
    table = [[*cells[i * columns :][:columns]] for i in range(rows)]
    if column_labels:
        table.insert(0, [_centred(text, column, text.height) for text in texts(above, column)])
    if row_labels:
        heads = texts([""] * bool(column_labels) + left, 2 * LEAST)
        table = [
            [_centred(head, head.width, max(head.height, line[0].height)), *line]
            for head, line in zip(heads, table, strict=True)
        ]
    lines = [_joined(line) for line in table]
    if title:
        lines.insert(0, *texts([title], max(line.width for line in lines)))
    sheet = _joined(lines, down=True)
    return np.array(_centred(sheet, sheet.width + 2 * GAP, sheet.height + 2 * GAP))


def gallery(folder: str | Path, columns: int | None = None, size: int = 256) -> np.ndarray:
    """The contact sheet of the pictures in a folder, by name, small and with their names.

    Args:
        folder: with PNG, JPEG or WebP files; those in its folders are left out.
        columns, size: see `contact_sheet`.

    Raises:
        ValueError: there is no picture in it.

    Warns:
        UserWarning: a file is damaged, and was left out.
    """
    paths = [p for p in sorted(Path(folder).iterdir()) if p.suffix.lower()[1:] in FORMATS]
    found: dict[str, np.ndarray] = {}
    for path in paths:
        try:
            image = Image.fromarray(load(path))
        except ValueError as error:
            warnings.warn(f"left out of the gallery: {error}", stacklevel=2)
            continue
        found[path.name] = np.array(_reduced([image], size)[0])
    if not found:
        raise ValueError(f"`folder` must hold PNG, JPEG or WebP pictures. Received: {folder}")
    return contact_sheet([*found.values()], columns, labels=[*found])


def _reduced(images: list[Image.Image], size: int | None) -> list[Image.Image]:
    """The images with no side above ``size``, in their own shapes."""
    if size is None:
        width, height = (max(image.size[i] for image in images) for i in (0, 1))
        share = math.sqrt(MOST / (width * height * len(images)))
        size = max(width, height) if share >= 1 else max(1, int(share * max(width, height)))
    size = whole_number("size", size, 1)
    for image in images:
        if max(image.size) > size:
            image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return images


def _filled(name: str, texts: Sequence[str], places: int) -> list[str]:
    """A text for each place; those that are not given are empty."""
    if len(texts) > places:
        raise ValueError(f"`{name}` must be at most {places} texts. Received: {len(texts)}")
    return [*texts, *[""] * (places - len(texts))]


def _wrapped(text: str, width: int, font: Any) -> str:
    """The text in up to `LINES` lines of up to ``width`` pixels, broken at spaces if there are."""
    lines, rest = [], " ".join(text[:2000].split())
    while rest and len(lines) < LINES:
        ends = range(1, min(len(rest), width) + 1)  # a letter has a pixel at least
        fits = [end for end in ends if font.getlength(rest[:end]) <= width]
        end = max(fits, default=1)
        space = rest.rfind(" ", 0, end + 1)
        end = space if space > 0 and end < len(rest) else end
        lines.append(rest[:end])
        rest = rest[end:].strip()
    if rest:
        lines[-1] = lines[-1][:-2].rstrip() + "…"
    return "\n".join(lines)


def _drawn(text: str, font: Any) -> Image.Image:
    """A text in black on white, no larger than it is."""
    from PIL import ImageDraw

    _, _, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox(
        (0, 0), text or " ", font
    )
    image = Image.new("RGB", (max(1, math.ceil(right)), max(1, math.ceil(bottom))), "white")
    ImageDraw.Draw(image).multiline_text((0, 0), text, "black", font)
    return image


def _centred(image: Image.Image, width: int, height: int) -> Image.Image:
    """The image in the middle of a white one."""
    sheet = Image.new("RGB", (width, height), "white")
    sheet.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return sheet


def _joined(images: Sequence[Image.Image], down: bool = False) -> Image.Image:
    """Images side by side, or one below the other, from the left or the top, with gaps."""
    widths, heights = zip(*(image.size for image in images), strict=True)
    gaps = GAP * (len(images) - 1)
    size = (max(widths), sum(heights) + gaps) if down else (sum(widths) + gaps, max(heights))
    sheet, at = Image.new("RGB", size, "white"), 0
    for image in images:
        sheet.paste(image, (0, at) if down else (at, 0))
        at += (image.height if down else image.width) + GAP
    return sheet
