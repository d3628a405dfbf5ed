"""Stage 1: fetch the pinned packages, render their drawings, pack them into one file.

python -m recipes.mini.data --configuration cpu --work RUN
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from recipes.mini import concepts, pack
from recipes.mini.config import Configuration, arguments
from recipes.mini.looks import BASE, LOOKS
from recipes.mini.sources import SOURCES, Drawings, Source, fetch

log = logging.getLogger(__name__)


def render(svg: str, size: int) -> np.ndarray:
    """SVG text as uint8 (size, size, 4) with straight alpha, centred on a square."""
    import resvg_py

    image = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size * 2))))
    return fit(image, size)


def fit(image: Image.Image, size: int) -> np.ndarray:
    """Crop to what is drawn, centre it on a square, scale: every thing fills its picture."""
    image = image.convert("RGBA")
    image = image.crop(image.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox())
    side = max(image.size)
    square = Image.new("RGBA", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    # Scaled with premultiplied alpha ("RGBa"), or transparent pixels would darken the edges.
    return np.asarray(square.convert("RGBa").resize((size, size), 1).convert("RGBA"))


def draw(source: Source, drawings: Drawings, code: str, common: dict, size: int):
    """The drawing of a code point uint8 (size, size, 4), or None if the package has none."""
    if source.style == "3d render":
        raster = drawings.raster(code)
        return None if raster is None else fit(Image.open(io.BytesIO(raster)), size)
    svg = drawings.svg(code, common)
    return None if svg is None else render(svg, size)


def collect(config: Configuration, packages: Path) -> Iterator[tuple[np.ndarray, pack.Label]]:
    """Every drawing of every concept in every style of the configuration."""
    folders = {source.package: fetch(source, packages) for source in SOURCES}
    emoji = folders["unicode-emoji-json"] / "data-by-emoji.json"
    common = {
        concepts.code_of(character): row["slug"].replace("_", "-")
        for character, row in json.loads(emoji.read_text("utf-8")).items()
    }
    for source in SOURCES:
        if source.style not in config.styles:
            continue
        drawings = Drawings(folders[source.package])
        for concept in concepts.curated():
            for code in concept.codes:
                for style, rgba in looks_of(source, drawings, code, common, config):
                    yield rgba, pack.label_of(rgba, concept.name, style, code, concept.synonyms)


def looks_of(
    source: Source, drawings: Drawings, code: str, common: dict, config: Configuration
) -> Iterator[tuple[str, np.ndarray]]:
    """(style, drawing) of a code point: the package's own, and the looks that are made of it."""
    made = [s for s in config.styles if s in LOOKS] if source.style == BASE else []
    large = draw(source, drawings, code, common, 2 * config.size if made else config.size)
    if large is None:
        return
    yield source.style, fit(Image.fromarray(large), config.size)
    margin = large.shape[0] // 16  # for the lines, which go beyond the edges
    large = np.pad(large, ((margin, margin), (margin, margin), (0, 0)))
    for style in made:
        yield style, fit(Image.fromarray(LOOKS[style](large)), config.size)


def main() -> None:
    config, work = arguments(__doc__)
    drawings, labels = zip(*collect(config, work / "packages"), strict=True)
    path = work / "drawings.npz"
    pack.write(path, pack.Pack(np.stack(drawings), labels))
    things = len({label.name for label in labels})
    megabytes = path.stat().st_size / 1e6
    log.info("%d drawings of %d things, %.1f MB: %s", len(labels), things, megabytes, path)


if __name__ == "__main__":
    main()
