"""Colours and their names: naming what is seen, and painting things in another colour."""

from __future__ import annotations

import numpy as np

HUES = {"red": 0, "orange": 27, "yellow": 48, "green": 125, "blue": 212, "purple": 272, "pink": 330}
"""Degrees. What a thing is painted in when a caption asks for it, with brown and black."""

BACKGROUNDS = {
    "white": (255, 255, 255), "black": (22, 22, 26), "gray": (150, 152, 156),
    "red": (216, 52, 48), "orange": (244, 144, 48), "yellow": (252, 216, 72),
    "green": (82, 176, 92), "blue": (60, 124, 216), "purple": (132, 84, 192),
    "pink": (248, 164, 196),
}  # fmt: skip
PAINTS = (*HUES, "brown", "black")
OF_ONE_HUE = 0.3  # the share of a thing's pixels from which on it has a main hue


def to_hsv(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RGB (..., 3) in 0..1 to hue in degrees, saturation and value in 0..1."""
    top, bottom = rgb.max(-1), rgb.min(-1)
    spread = np.maximum(top - bottom, 1e-6)
    r, g, b = np.moveaxis(rgb, -1, 0)
    hue = np.where(
        top == r, (g - b) / spread, np.where(top == g, 2 + (b - r) / spread, 4 + (r - g) / spread)
    )
    return np.mod(hue * 60, 360), (top - bottom) / np.maximum(top, 1e-6), top


def from_hsv(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The inverse of ``to_hsv``."""
    k = np.mod(np.asarray([5.0, 3.0, 1.0]) + np.asarray(hue)[..., None] / 60, 6)
    fall = np.clip(np.minimum(k, 4 - k), 0, 1)
    return value[..., None] * (1 - saturation[..., None] * fall)


def distance(hue: np.ndarray, other: float) -> np.ndarray:
    """The signed angle from ``other`` to ``hue``, in -180..180 degrees."""
    return np.mod(hue - other + 180, 360) - 180


LIMITS = ((11, "red"), (39, "orange"), (68, "yellow"), (168, "green"), (245, "blue"),
          (298, "purple"), (336, "pink"))  # fmt: skip
"""Up to which hue what is neither pale nor dark is called what; beyond the last it is red."""


def names_of(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The everyday names of colours, an array of strings."""
    pale, reddish = saturation < 0.16, (hue < 15) | (hue >= 336)
    dim = value < np.where(hue >= 14, 0.7, 0.78 - saturation / 2)
    rules = [
        (value < 0.22, "black"),
        (pale & (value > 0.85), "white"),
        (pale, "gray"),
        (reddish & (saturation < 0.5) & (value > 0.75), "pink"),
        (((hue < 40) | (hue > 355)) & dim, "brown"),
        *((hue < limit, name) for limit, name in LIMITS),
    ]
    conditions, names = zip(*rules, strict=True)
    return np.select(conditions, names, "red")


def name_of(hue: float, saturation: float, value: float) -> str:
    """The everyday name of one colour."""
    return str(names_of(*(np.asarray(part) for part in (hue, saturation, value))))


def main_hue(rgba: np.ndarray) -> tuple[float, float]:
    """The commonest hue of a thing, uint8 (H, W, 4), in degrees, and the share of the thing's
    pixels that are of it."""
    hue, saturation, value = to_hsv(rgba[rgba[..., 3] > 128][:, :3] / 255)
    weight = saturation * value * (saturation > 0.25) * (value > 0.2)
    if weight.sum() == 0:
        return 0.0, 0.0
    counts = np.histogram(hue, 36, (0, 360), weights=weight)[0]
    peak = (np.argmax(counts + np.roll(counts, 1)) * 10) % 360
    # The mean direction of the hues that are near the commonest one.
    near = weight * (np.abs(distance(hue, peak)) < 35)
    angles = np.radians(hue)
    mean = np.arctan2((near * np.sin(angles)).sum(), (near * np.cos(angles)).sum())
    others = weight.sum() - near.sum()
    share = (near > 0).mean() if others < 0.3 * weight.sum() else 0.0
    return float(np.degrees(mean) % 360), float(share)


def own_colour(rgba: np.ndarray) -> str | None:
    """What a thing of one colour is called, "red" or "brown"; None where no one name fits."""
    main, share = main_hue(rgba)
    hue, saturation, value = to_hsv(rgba[rgba[..., 3] > 128][:, :3] / 255)
    if share < 0.45:
        return "black" if np.mean(value < 0.22) > 0.9 else None
    near = (np.abs(distance(hue, main)) < 35) & (saturation > 0.25)
    return name_of(main, float(np.median(saturation[near])), float(np.median(value[near])))


def paint(rgba: np.ndarray, colour: str) -> np.ndarray:
    """The thing in another colour: its main hue is moved, other hues and shading stay.

    A thing without a main hue is painted where it is white or gray. ``rgba`` uint8 (H, W, 4),
    straight alpha; ``colour`` one of ``PAINTS``.
    """
    target, s_new, v_new = look_of(colour)
    main, share = main_hue(rgba[:: max(1, len(rgba) // 64), :: max(1, len(rgba) // 64)])
    seen = rgba[..., 3] > 0
    rgb = rgba[seen][:, :3] / np.float32(255)
    hue, saturation, value = to_hsv(rgb)
    coloured = share >= OF_ONE_HUE
    offset = distance(hue, main) if coloured else np.zeros_like(hue)
    if coloured:
        part = np.clip((60 - np.abs(offset)) / 20, 0, 1) * np.clip(saturation / 0.15, 0, 1)
    else:
        part = np.clip((0.3 - saturation) / 0.1, 0, 1) * np.clip((value - 0.35) / 0.1, 0, 1)
    chosen = (part > 0.5) & (rgba[seen][:, 3] > 128)
    if not chosen.any():
        return rgba
    s, v = (float(np.median(x[chosen])) for x in (saturation, value))
    painted = from_hsv(
        np.mod(target + 0.4 * offset, 360),
        np.clip(saturation * s_new / max(s, 0.05), 0, 1) if coloured else np.full_like(hue, s_new),
        np.clip(value * v_new / max(v, 0.05), 0, 1),
    )
    result = np.array(rgba)
    mixed = part[..., None] * painted + (1 - part[..., None]) * rgb
    result[seen, :3] = np.round(255 * mixed).astype(np.uint8)
    return result


def paintable(rgba: np.ndarray) -> bool:
    """Whether a thing, painted, is seen in the colour that it was painted in."""
    opaque = rgba[..., 3] > 128
    return all(commonest(paint(rgba, c)[opaque][:, :3]) == c for c in ("red", "green", "blue"))


def look_of(colour: str) -> tuple[float, float, float]:
    """Hue, median saturation and median value of a thing painted in ``colour``."""
    special = {
        "brown": (24, 0.62, 0.52), "black": (230, 0.1, 0.17), "pink": (335, 0.42, 0.97),
        "yellow": (48, 0.8, 0.97), "orange": (27, 0.85, 0.96), "green": (125, 0.65, 0.66),
    }  # fmt: skip
    if colour not in PAINTS:
        raise ValueError(f"`colour` must be one of {PAINTS}. Received: colour={colour!r}")
    return special.get(colour) or (HUES[colour], 0.78, 0.84)


def seen_colour(picture: np.ndarray) -> str:
    """The name of the colour that covers most of the thing in a picture, uint8 (H, W, 3).

    The thing is what differs from the background, and the background is the colour of the border.
    """
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    away = np.abs(picture.astype(int) - np.median(border, 0)).max(-1) > 40
    pixels = picture[away] if away.any() else picture.reshape(-1, 3)
    return commonest(pixels)


def seen_background(picture: np.ndarray) -> str:
    """The name of the colour of a picture's border."""
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    return commonest(border)


def commonest(pixels: np.ndarray) -> str:
    found, counts = np.unique(names_of(*to_hsv(pixels / 255)), return_counts=True)
    return str(found[np.argmax(counts)])
