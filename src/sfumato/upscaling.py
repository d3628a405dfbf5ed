"""Larger pictures: by a network, tile by tile, or by interpolation.

larger = sfumato.upscale("photo.png", 2)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, overload

import numpy as np
from keras import ops
from PIL import Image

from sfumato import runtime
from sfumato._numbers import MAX_PIXELS, as_number, whole_number
from sfumato.checkpoints.upscalers import read_upscaler
from sfumato.kernels import Tensor
from sfumato.networks.network import Network
from sfumato.picture import Picture
from sfumato.pictures.tiling import fitted, tiled_rows
from sfumato.pictures.transparency import as_layers, on_top
from sfumato.presets.upscalers import BUNDLED, FILTERS, find

INTERPOLATIONS = {name: Image.Resampling[name.upper()] for name in FILTERS}
MOST = 8
"""The greatest scale."""
TILE, LEAST_TILE = 320, 96
FADE = 16  # pixels over which neighbouring tiles are blended
MARGIN = 24  # the most that a tile leaves to its neighbours: what is further away is seen faintly
GRAIN = 8  # sides of tiles are multiples of it, and of what any network needs
TIMES = 3  # as often as a network is used on its own results to reach a size

Size = tuple[int, int]
"""Height and width in pixels."""
Other = str | os.PathLike[str] | Image.Image | np.ndarray
"""Pictures that are not of this package."""


@overload
def upscale(image: Picture, scale: float = 2, upscaler: Any = ..., tile: int = ...) -> Picture: ...
@overload
def upscale(image: Other, scale: float = 2, upscaler: Any = ..., tile: int = ...) -> np.ndarray: ...
def upscale(
    image: Any,
    scale: float = 2,
    upscaler: str | os.PathLike[str] = "esrgan",
    tile: int = TILE,
) -> Picture | np.ndarray:
    """Make a picture larger.

    Args:
        image: a `Picture`, a file's path, one of Pillow's pictures, or an array of 0..255: (H, W),
            (H, W, 3), or (H, W, 4) with transparency.
        scale: from 1 to 8.
        upscaler: "esrgan", the network that is part of this package; the file of another one
            (RRDBNet of ESRGAN and Real-ESRGAN, SRVGGNetCompact); or "nearest", "bilinear",
            "bicubic" or "lanczos".
        tile: side in pixels of the parts in which a network works. Smaller ones need less memory.

    Returns:
        uint8 (scale H, scale W, 3), with (..., 4) where the picture has transparent parts; of a
        `Picture` another one with the same recipe.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an argument is not as above, or the result would have too many pixels.
    """
    known = find(upscaler)
    tile = whole_number("tile", tile, LEAST_TILE) // GRAIN * GRAIN
    colours, alpha = as_layers(image.pixels if isinstance(image, Picture) else image)
    size = scaled(colours.shape[:2], scale)
    larger = enlarged(colours, size, known, tile)
    if isinstance(image, Picture):
        return replace(image, pixels=larger)
    if alpha is None:
        return larger
    kind = INTERPOLATIONS.get(known, Image.Resampling.LANCZOS)
    return on_top(larger, resampled(alpha, size, kind))


def scaled(size: Size, scale: Any) -> Size:
    """The size of an enlarged picture.

    Raises:
        ValueError: the scale is no number from 1 to `MOST`, or the picture would be too large.
    """
    try:
        factor = as_number(scale)
    except (ValueError, OverflowError):
        factor = 0.0
    if not 1 <= factor <= MOST:
        raise ValueError(f"`scale` must be a number from 1 to {MOST}. Received: scale={scale!r}")
    h, w = round(size[0] * factor), round(size[1] * factor)
    if h * w > MAX_PIXELS:
        must = f"leave at most {MAX_PIXELS} pixels"
        raise ValueError(f"`scale` must {must}. Received: scale={scale!r}, {w}x{h} pixels")
    return h, w


def enlarged(pixels: np.ndarray, size: Size, upscaler: str, tile: int = TILE) -> np.ndarray:
    """A picture (H, W, 3), uint8, brought to a size by an upscaler of `presets.upscalers`.

    A network is used until the size is reached, and what is too much is taken back by Lanczos.
    """
    if upscaler in INTERPOLATIONS:
        return resampled(pixels, size, INTERPOLATIONS[upscaler])
    network = open_upscaler(BUNDLED.get(upscaler, Path(upscaler)))
    for _ in range(TIMES):
        pixels = network(pixels, max(size[0] / pixels.shape[0], size[1] / pixels.shape[1]), tile)
        if network.scale == 1 or (pixels.shape[0] >= size[0] and pixels.shape[1] >= size[1]):
            break
    return resampled(pixels, size, Image.Resampling.LANCZOS)


def resampled(pixels: np.ndarray, size: Size, kind: Image.Resampling) -> np.ndarray:
    """A picture (H, W, 3) or (H, W), uint8, at another size, by one of Pillow's filters."""
    if pixels.shape[:2] == size:
        return pixels
    return np.array(Image.fromarray(pixels).resize((size[1], size[0]), kind))


def open_upscaler(path: Path) -> Upscaler:
    """The network of a file, which stays loaded as long as the file is the same."""
    seen = path.stat()
    return _opened(path, seen.st_mtime_ns, seen.st_size)


@lru_cache(2)
def _opened(path: Path, *_seen: int) -> Upscaler:
    return Upscaler(read_upscaler(path))


class Upscaler:
    """A network that enlarges, and the program that it runs in.

    Args:
        network: pictures (B, H, W, 3) of 0..1 -> (B, s H, s W, 3), with a `config` of
            `networks.upscalers`.
    """

    def __init__(self, network: Network) -> None:
        self.scale: int = network.config.scale
        self.margin = min(network.config.reach + 2, MARGIN)  # 2: the filter that reduces
        self.grain: int = getattr(network.config, "unshuffle", 1)
        self._run = runtime.compile(partial(enlarge, network), [network], True)

    def __call__(self, pixels: np.ndarray, scale: float, tile: int = TILE) -> np.ndarray:
        """Enlarge pixels (H, W, 3), uint8, up to a scale, or less if the network does less.

        The result has the least divisor of the network's own scale that is not below that.
        """
        divisors = [n for n in range(1, self.scale + 1) if self.scale % n == 0]
        factor = next((n for n in divisors if n >= scale), self.scale)
        H, W, C = pixels.shape
        result = np.empty((factor * H, factor * W, C), "uint8")
        columns = slice(factor * self.margin, factor * (self.margin + W))
        at = -factor * self.margin  # the place of the next row
        for rows in self._rows(pixels, factor, tile):
            part = rows[0, max(-at, 0) : max(len(result) - at, 0), columns]
            result[max(at, 0) : max(at, 0) + len(part)] = np.rint(part)
            at += rows.shape[1]
        return result

    def _rows(self, pixels: np.ndarray, factor: int, tile: int) -> Iterator[np.ndarray]:
        """Rows of the result, (1, n, W, 3), with a margin on all sides.

        There the picture is its own reflection: networks see zeros beyond an edge, which would
        come out as a frame.
        """

        def run(x: np.ndarray) -> np.ndarray:
            y = ops.convert_to_numpy(self._run(x))  # (1, s h, s w, 3)
            size = factor * x.shape[1], factor * x.shape[2]
            return resampled(y[0], size, Image.Resampling.LANCZOS)[None]

        sides = (n + 2 * self.margin for n in pixels.shape[:2])
        edges = [(self.margin, self.margin + -n % self.grain) for n in sides]
        x = np.pad(pixels[None], ((0, 0), *edges, (0, 0)), "reflect")
        overlap = 2 * self.margin + FADE
        side = max(fitted(size, tile, overlap, GRAIN) for size in x.shape[1:3])
        return tiled_rows(run, x, side, overlap, factor, self.margin, self.grain)


def enlarge(network: Network, pixels: Tensor) -> Tensor:
    """pixels (B, H, W, 3) of 0..255 -> (B, s H, s W, 3) uint8."""
    x = network(ops.cast(pixels, "float32") / 255.0)
    return ops.cast(ops.round(ops.clip(255.0 * x, 0, 255)), "uint8")
