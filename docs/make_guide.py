"""The guides as notebooks and, run, as pages.

    python docs/make_guide.py          guide.py -> guide.ipynb, without outputs; random_walks too
    python docs/make_guide.py --run    also run them: guide.md has what they print and plot

A guide is a script in cells: `# %% [markdown]` begins text, `# %%` begins code. Pages are made on
JAX, because the comparison in the guide needs it, unless KERAS_BACKEND says otherwise.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from PIL import Image

DOCS = Path(__file__).resolve().parent
GUIDES = ("guide", "random_walks")
MARK = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)
DPI = 72
MAGNIFICATION = 2  # of the small model's animations


class Cell(NamedTuple):
    kind: str
    """"markdown" or "code"."""
    text: str


def read_cells(source: str) -> list[Cell]:
    """Split a script into cells; the lines above the first one belong to the script alone."""
    pieces = MARK.split(source)[1:]
    cells = []
    for mark, text in zip(pieces[::2], pieces[1::2], strict=True):
        text = text.strip("\n")
        if mark:
            lines = [line.removeprefix("#").removeprefix(" ") for line in text.splitlines()]
            cells.append(Cell("markdown", "\n".join(lines)))
        else:
            cells.append(Cell("code", text))
    return cells


def make_notebook(cells: list[Cell]) -> str:
    """Write the cells as a Jupyter notebook (nbformat 4.5) without outputs."""

    def entry(index: int, cell: Cell) -> dict[str, Any]:
        common = {"cell_type": cell.kind, "id": f"cell-{index:02}", "metadata": {}}
        common["source"] = cell.text.splitlines(keepends=True)
        return (
            common if cell.kind == "markdown" else common | {"execution_count": None, "outputs": []}
        )

    notebook = {
        "cells": [entry(index, cell) for index, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def make_page(name: str, cells: list[Cell], images: Path) -> str:
    """Run the cells and write them as Markdown with their output; pictures go to `images`."""
    page = [f"<!-- Made from {name}.py by make_guide.py: change that file, not this one. -->"]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with collected(name, images) as pictures:
        for index, cell in enumerate(cells):
            if cell.kind == "markdown":
                page.append(cell.text)
                continue
            page.append(f"```python\n{cell.text}\n```")
            printed = io.StringIO()
            with redirect_stdout(printed):
                exec(compile(cell.text, f"{name}.py", "exec"), namespace)
            if text := readable(printed.getvalue()):
                page.append(f"```text\n{text}\n```")
            alternative = last_heading(cells[:index])
            page += [f"![{alternative}](images/{path.name})" for path in pictures]
            pictures.clear()
    return "\n\n".join(page) + "\n"


def last_heading(cells: list[Cell]) -> str:
    text = "\n".join(cell.text for cell in cells if cell.kind == "markdown")
    return re.findall(r"^#+ (.*)", text, re.MULTILINE)[-1]


@contextmanager
def collected(name: str, images: Path) -> Iterator[list[Path]]:
    """Collect the pictures that are plotted and the animations that are saved meanwhile."""
    import sfumato.pictures
    import sfumato.visualization

    plot, animate = sfumato.visualization.plot_gallery, sfumato.pictures.save_animation
    found: list[Path] = []

    def plot_gallery(*args: Any, **options: Any) -> None:
        number = 1 + len(list(images.glob(f"{name}-[0-9]*.webp")))
        found.append(images / f"{name}-{number:02}.webp")
        figure = plot(*args, **{**options, "show": False})
        for axes in figure.axes:
            for image in axes.images:
                image.set_interpolation("bicubic")
        figure.savefig(found[-1], dpi=DPI, bbox_inches="tight", pad_inches=0.02)

    def save_animation(path: str, frames: np.ndarray, **options: Any) -> Path:
        found.append(images / f"{name}-{Path(path).name}")
        large = [enlarge(frame) for frame in frames]
        animate(found[-1], large, **options)
        return animate(path, frames, **options)

    with (
        patch.object(sfumato.visualization, "plot_gallery", plot_gallery),
        patch.object(sfumato.pictures, "save_animation", save_animation),
    ):
        yield found


def enlarge(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    size = (MAGNIFICATION * width, MAGNIFICATION * height)
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))


def readable(printed: str) -> str:
    """Keep what a terminal shows in the end: no colours, the last state of a progress bar."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", printed)
    lines = [re.split(r"[\r\b]+", line.rstrip("\r\b"))[-1].rstrip() for line in plain.split("\n")]
    return "\n".join(lines).strip("\n")


def write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")
    print(path)


def run(name: str, cells: list[Cell]) -> None:
    for old in (DOCS / "images").glob(f"{name}-*"):
        old.unlink()
    (DOCS / "images").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        page = make_page(name, cells, DOCS / "images")
    write(DOCS / f"{name}.md", page)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("guides", nargs="*", default=GUIDES, help="which; default: all")
    parser.add_argument("--run", action="store_true", help="run them and write the pages, too")
    arguments = parser.parse_args()
    os.environ.setdefault("MPLBACKEND", "agg")
    os.environ.setdefault("KERAS_BACKEND", "jax")
    cache = tempfile.TemporaryDirectory()  # a first call in a page is a first call
    os.environ["SFUMATO_COMPILE_CACHE"] = cache.name
    for name in arguments.guides:
        cells = read_cells((DOCS / f"{name}.py").read_text("utf-8"))
        write(DOCS / f"{name}.ipynb", make_notebook(cells))
        if arguments.run:
            run(name, cells)


if __name__ == "__main__":
    main()
