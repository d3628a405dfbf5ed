"""The canvas of a picture that is painted on: resized, extended, with the edge of its mask soft.

The network is shown the whole canvas, or the masked part of it at a size of its own, which is put
back afterwards. What no mask covers stays as it was given, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

RESIZES = ("stretch", "crop", "fill")
SIDES = ("bottom", "left", "right", "top")
WHITE = 255  # of a mask: paint here

Size = tuple[int, int]
"""Height and width in pixels."""


class Canvas(NamedTuple):
    """A picture, the part of it that is painted, and the size at which that is done."""

    pixels: np.ndarray  # uint8 (H, W, 3)
    mask: np.ndarray | None  # uint8 (H, W); None: everywhere
    region: tuple[slice, slice]
    size: Size

    def shown(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The part that is painted, at its size: pixels (h, w, 3) and mask (h, w), uint8."""
        mask = None if self.mask is None else resized(self.mask[self.region], self.size, "fill")
        return resized(self.pixels[self.region], self.size, "fill"), mask

    def finished(self, painted: np.ndarray) -> np.ndarray:
        """The canvas with the painted part (h, w, 3) on it, where the mask is not black."""
        if self.mask is None:
            return painted
        known = self.pixels[self.region]
        cover = (self.mask[self.region].astype("float32") / np.float32(WHITE))[..., None]
        whole = self.pixels.copy()
        painted = unfilled(painted, known.shape[:2])
        whole[self.region] = np.round(cover * painted + (1 - cover) * known).astype("uint8")
        return whole


def make_canvas(
    image: np.ndarray,
    mask: np.ndarray | None,
    size: Size,
    resize: str | None = None,
    extend: Mapping[str, int] | None = None,
    mask_blur: float = 0.0,
    padding: int | None = None,
) -> Canvas:
    """Make the canvas of a picture.

    Args:
        image: uint8 (H, W, 3).
        mask: uint8 (H, W) of the same size, white where to paint.
        size: height and width of what is painted.
        resize: brings the picture to the size, less what is added: one of `RESIZES`.
        extend: pixels to add at some of the `SIDES`. They are painted; the picture's edge is drawn
            out to them until then.
        mask_blur: the radius, in pixels, by which the mask's edge is softened.
        padding: paint the masked part alone, with this many pixels around it.
    """
    added = {side: (extend or {}).get(side, 0) for side in SIDES}
    edges = ((added["top"], added["bottom"]), (added["left"], added["right"]))
    if resize:
        inner = size[0] - sum(edges[0]), size[1] - sum(edges[1])
        image = resized(image, inner, resize)
        mask = None if mask is None else resized(mask, inner, resize)
    if extend:
        mask = np.zeros(image.shape[:2], np.uint8) if mask is None else mask
        image = np.pad(image, (*edges, (0, 0)), "edge")
        mask = np.pad(mask, edges, constant_values=WHITE)

    if mask is not None and mask_blur:
        soft = np.array(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(mask_blur)))
        # The blur must not bring back the drawn-out edges, which are no picture.
        (top, bottom), (left, right) = edges
        H, W = mask.shape
        within = (slice(top, H - bottom), slice(left, W - right))
        mask = mask.copy()
        mask[within] = soft[within]
    region = (slice(None), slice(None))
    if mask is not None and padding is not None:
        region = masked_region(mask, size, padding)
    return Canvas(image, mask, region, size)


def masked_region(mask: np.ndarray, size: Size, padding: int) -> tuple[slice, slice]:
    """The rows and columns around what is not black, as wide for their height as a size.

    They end where the picture ends, whatever the size. Of a mask that is all black it is all.
    """
    H, W = mask.shape
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return slice(None), slice(None)
    top, bottom = max(int(rows[0]) - padding, 0), min(int(rows[-1]) + 1 + padding, H)
    left, right = max(int(columns[0]) - padding, 0), min(int(columns[-1]) + 1 + padding, W)

    h, w = size
    top, bottom = _widened(top, bottom, (right - left) * h // w, H)
    left, right = _widened(left, right, (bottom - top) * w // h, W)
    return slice(top, bottom), slice(left, right)


def _widened(begin: int, end: int, length: int, limit: int) -> Size:
    """A range made as long as a length on both sides, within 0 and a limit."""
    length = min(max(length, end - begin), limit)
    begin = min(max(begin - (length - (end - begin)) // 2, 0), limit - length)
    return begin, begin + length


def resized(pixels: np.ndarray, size: Size, mode: str) -> np.ndarray:
    """A picture (H, W, 3) or a mask (H, W), uint8, brought to a size.

    Args:
        mode: "stretch" loses the proportions; "crop" cuts off what is too much, "fill" draws the
            edges out over what is too little, both from the middle.
    """
    H, W = pixels.shape[:2]
    if size == (H, W):
        return pixels
    (h, w), (sh, sw) = size, _scaled((H, W), size, mode)
    top, left = h // 2 - sh // 2, w // 2 - sw // 2  # in front of the picture; below 0: cut off
    picture = Image.fromarray(pixels)
    # A mask gets no waves along its edges: they would paint what is to stay.
    kind = Image.Resampling.LANCZOS if pixels.ndim == 3 else Image.Resampling.BILINEAR
    if mode == "crop":  # before it is enlarged: a thin picture would become a huge one
        box = (-left * W / sw, -top * H / sh, (w - left) * W / sw, (h - top) * H / sh)
        box = (box[0], box[1], min(box[2], W), min(box[3], H))
        return np.array(picture.resize((w, h), kind, box))
    small = np.array(picture.resize((sw, sh), kind))
    edges = ((top, h - sh - top), (left, w - sw - left), (0, 0))
    return np.pad(small, edges[: pixels.ndim], "edge")


def unfilled(pixels: np.ndarray, size: Size) -> np.ndarray:
    """The picture of a size, from what `resized` made of it by "fill"."""
    h, w = pixels.shape[:2]
    sh, sw = _scaled(size, (h, w), "fill")
    top, left = h // 2 - sh // 2, w // 2 - sw // 2
    return resized(pixels[top : top + sh, left : left + sw], size, "stretch")


def _scaled(size: Size, target: Size, mode: str) -> Size:
    """The size of a whole picture when it is resized to a target, before it is cut or filled."""
    (H, W), (h, w) = size, target
    if mode == "stretch":
        return target
    if (h * W > w * H) == (mode == "fill"):  # the width decides
        return max(1, H * w // W), w
    return h, max(1, W * h // H)
