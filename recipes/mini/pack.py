"""The pictures of the training set in one file: drawings with transparency, as WebP, and labels."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from recipes.mini import colours

BLACK_AND_WHITE = ("line drawing", "silhouette")  # styles that leave no choice of colours


@dataclass(frozen=True)
class Label:
    """What one drawing shows. ``colour`` is its name; ``paintable``: may be painted otherwise."""

    name: str
    style: str
    code: str
    colour: str | None
    paintable: bool
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pack:
    """Drawings uint8 (N, size, size, 4) with straight alpha, and their labels."""

    drawings: np.ndarray
    labels: tuple[Label, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> int:
        return self.drawings.shape[1]

    def small(self, side: int) -> Pack:
        """The same drawings, ``side`` pixels wide at most."""
        if side >= self.size:
            return self
        return Pack(np.stack([shrink(drawing, side) for drawing in self.drawings]), self.labels)


def label_of(rgba: np.ndarray, name: str, style: str, code: str, synonyms=()) -> Label:
    """The label of a drawing, its colour read from the pixels."""
    small = shrink(rgba)
    colour = colours.own_colour(small)
    paintable = style not in BLACK_AND_WHITE and colours.paintable(small)
    return Label(name, style, code, colour, paintable, tuple(synonyms))


def shrink(rgba: np.ndarray, side: int = 64) -> np.ndarray:
    """A drawing small enough to count its colours, uint8 (H, W, 4) of at most ``side``."""
    image = Image.fromarray(rgba).convert("RGBa")
    image.thumbnail((side, side), Image.Resampling.BOX)
    return np.asarray(image.convert("RGBA"))


def write(path: Path, pack: Pack) -> None:
    """Write atomically; about 2 KB for a drawing of 128 pixels."""
    blobs = [encode(drawing) for drawing in pack.drawings]
    ends = np.cumsum([len(blob) for blob in blobs])
    labels = json.dumps([asdict(label) for label in pack.labels], ensure_ascii=False)
    arrays = {"blobs": np.frombuffer(b"".join(blobs), np.uint8), "ends": ends}
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, labels=np.frombuffer(labels.encode(), np.uint8), **arrays)
    partial.replace(path)


def read(path: Path) -> Pack:
    """Read what ``write`` wrote. The drawings are decoded once, into a file that is mapped, so that
    several processes share one copy."""
    decoded = path.with_suffix(".npy")
    with np.load(path) as file:
        rows = json.loads(file["labels"].tobytes())
        if not decoded.exists() or decoded.stat().st_mtime < path.stat().st_mtime:
            unpack(decoded, file["ends"], file["blobs"].tobytes())
    labels = (Label(**row | {"synonyms": tuple(row["synonyms"])}) for row in rows)
    return Pack(np.load(decoded, mmap_mode="r"), tuple(labels))


def unpack(path: Path, ends: np.ndarray, blobs: bytes) -> None:
    """Decode all drawings into one array file, atomically."""
    starts = np.concatenate([[0], ends[:-1]])
    drawings = [decode(blobs[a:b]) for a, b in zip(starts, ends, strict=True)]
    partial = path.with_suffix(".partial.npy")
    np.save(partial, np.stack(drawings))
    partial.replace(path)


def encode(rgba: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "WEBP", quality=90, method=4)
    return buffer.getvalue()


def decode(blob: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(blob)).convert("RGBA"))
