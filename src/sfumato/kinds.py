"""Sorts of values that a field may hold: how each is checked, read from text and written.

A kind raises a bare ValueError; whoever knows the name of the field says what it must be.
"""

from __future__ import annotations

import math
import operator
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Kind:
    """A sort of value. `must` completes the sentence "the value must ..."."""

    must = "be text"
    metavar = "TEXT"
    schema: dict[str, Any] = {"type": "string"}  # noqa: RUF012  JSON Schema

    @property
    def must_read(self) -> str:
        """As `must`, of the text that `read` takes."""
        return self.must

    def check(self, value: Any) -> Any:
        """The value in its own type; ValueError if it is none of this kind."""
        if not isinstance(value, str):
            raise ValueError
        return value

    def read(self, text: str) -> Any:
        """The value that a text states; empty text states none."""
        return self.check(text) if text else None

    def write(self, value: Any) -> str:
        """The text that `read` reads."""
        return str(value)

    def to_json(self, value: Any) -> Any:
        """The value in JSON's types."""
        return value

    def from_json(self, value: Any) -> Any:
        """The value that `to_json` gave; never a file's name."""
        return self.check(value)


class ModelName(Kind):
    """A preset, a Hub repository or the path of a folder or file."""

    metavar = "MODEL"

    def write(self, value: str) -> str:
        """The name for a recipe: of a path the last part, as the rest tells who painted it."""
        from sfumato import presets

        with suppress(OSError, RuntimeError):  # no path, or of a user who is not known here
            path = Path(value).expanduser()
            if not presets.find(value) and path.exists():
                name = path.resolve().name
                return f"./{name}" if presets.find(name) else name
        return value


@dataclass(frozen=True)
class Whole(Kind):
    """Whole numbers of any type, from `least` to `most`."""

    least: int
    most: float = math.inf
    metavar = "N"

    @property
    def must(self) -> str:
        return f"be a whole number {_span(self.least, self.most)}"

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "integer"} | _bounds(self.least, self.most)

    def check(self, value: Any) -> int:
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise ValueError
        number = operator.index(value)
        if not self.least <= number <= self.most:
            raise ValueError
        return number

    def read(self, text: str) -> int:
        if not re.fullmatch(r"-?\d{1,20}", text):
            raise ValueError
        return self.check(int(text))


@dataclass(frozen=True)
class Number(Kind):
    """Finite numbers from `least` to `most`; `above`: `least` itself is not one of them."""

    least: float
    most: float = math.inf
    above: bool = False
    metavar = "X"

    @property
    def must(self) -> str:
        if self.above:
            return f"be a number in ({self.least}, {self.most}]"
        return f"be a number {_span(self.least, self.most)}"

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "number"} | _bounds(self.least, self.most)

    def check(self, value: Any) -> float:
        if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
            raise ValueError
        try:
            number = float(value)
        except TypeError as error:  # an array of several
            raise ValueError from error
        if not self.least <= number <= self.most or math.isinf(number):
            raise ValueError
        if self.above and number == self.least:
            raise ValueError
        return number

    def read(self, text: str) -> float:
        return self.check(float(text))

    def write(self, value: float) -> str:
        return repr(value).removesuffix(".0")


@dataclass(frozen=True)
class Interval(Kind):
    """Two numbers, 0 <= first < second <= 1, written as "0.2:0.8"."""

    must = "be two numbers, 0 <= first < second <= 1, such as 0.2:0.8"
    metavar = "A:B"
    schema = {  # noqa: RUF012
        "type": "array",
        "items": {"type": "number", "minimum": 0, "maximum": 1},
        "minItems": 2,
        "maxItems": 2,
    }

    def check(self, value: Any) -> tuple[float, float]:
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise ValueError
        first, second = (Number(0, 1).check(bound) for bound in value)
        if not first < second:
            raise ValueError
        return first, second

    def read(self, text: str) -> tuple[float, float]:
        return self.check([float(bound) for bound in text.split(":")])

    def write(self, value: tuple[float, float]) -> str:
        return ":".join(map(str, value))

    def to_json(self, value: tuple[float, float]) -> list[float]:
        return list(value)


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few words."""

    words: tuple[str, ...]
    metavar = "WORD"

    @property
    def must(self) -> str:
        return f"be one of {', '.join(self.words)}"

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.words)}

    def check(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise ValueError
        return value


@dataclass(frozen=True)
class Name(Kind):
    """The name of a row of a table of `diffusion`: "sampler" or "schedule".

    Any name that the row goes by will do. JSON has the canonical one, the recipe A1111's label. A
    row of one's own stands for itself.
    """

    table: str
    metavar = "NAME"

    @property
    def must(self) -> str:
        return f"be one of {', '.join(self.rows)}"

    @property
    def rows(self) -> dict[str, Any]:
        from sfumato import diffusion

        return diffusion.SAMPLERS if self.table == "sampler" else diffusion.SCHEDULES

    def row(self, value: Any) -> Any:
        from sfumato import diffusion

        find = diffusion.find_sampler if self.table == "sampler" else diffusion.find_schedule
        return find(value)

    def check(self, value: Any) -> Any:
        if not isinstance(value, (str, *map(type, self.rows.values()))):
            raise ValueError
        row = self.row(value)
        return row.name if self.rows.get(row.name) is row else row

    def read(self, text: str) -> str | None:
        return text or None  # "DPM++ 2M Karras" names two things: the request takes it apart

    def write(self, value: Any) -> str:
        return self.row(value).label

    def to_json(self, value: Any) -> str:
        return self.row(value).name


@dataclass(frozen=True)
class Options(Kind):
    """Numbers or words by name, written as "eta=0.5,order=3"."""

    must = "be options with their values, such as eta=0.5,order=3"
    metavar = "K=V,.."
    schema = {"type": "object", "additionalProperties": {"type": ["number", "string"]}}  # noqa: RUF012

    def check(self, value: Any) -> dict[str, Any]:
        options = dict(value) if hasattr(value, "keys") else None
        if options is None or not all(isinstance(name, str) for name in options):
            raise ValueError
        return {self.word(name): self.plain(options[name]) for name in sorted(options)}

    @staticmethod
    def word(text: str) -> str:
        """Text that can stand in the written form."""
        if not re.fullmatch(r"[\w.+-]+", text):
            raise ValueError
        return text

    def plain(self, value: Any) -> int | float | str:
        """A number, or a word that is none."""
        if isinstance(value, str):
            value = _number(self.word(value))
            if isinstance(value, str):
                return value
        is_whole = hasattr(value, "__index__") and not isinstance(value, bool)
        return operator.index(value) if is_whole else Number(-math.inf).check(value)

    def read(self, text: str) -> dict[str, Any]:
        pairs = (item.partition("=") for item in text.split(",") if item.strip())
        return self.check({name.strip(): value.strip() for name, _, value in pairs})

    def write(self, value: dict[str, Any]) -> str:
        return ",".join(f"{name}={option}" for name, option in value.items())


@dataclass(frozen=True)
class Pixels(Kind):
    """A picture, uint8 (H, W, 3), or a mask, uint8 (H, W); a file, an array or one of Pillow's."""

    mask: bool = False
    metavar = "FILE"
    schema = {"type": "string", "format": "data-url"}  # noqa: RUF012

    @property
    def must(self) -> str:
        shape = "(H, W) of 0..1, or of 0..255 as uint8" if self.mask else "(H, W, 3) of 0..255"
        return f"be a picture file, one of Pillow's pictures or an array {shape}"

    def check(self, value: Any) -> Any:
        from sfumato.pictures import pixels

        return pixels.as_mask(value) if self.mask else pixels.as_image(value)

    @property
    def must_read(self) -> str:
        return "be a PNG, JPEG or WebP file"

    def read(self, text: str) -> Any:
        try:
            return self.check(Path(text).expanduser())
        except (OSError, RuntimeError) as error:  # no such file, no such user
            raise ValueError from error

    def to_json(self, value: Any) -> str:
        from sfumato.pictures import pixels

        return pixels.to_data_url(value)

    def from_json(self, value: Any) -> Any:
        from sfumato.pictures import pixels

        return self.check(pixels.from_data_url(value, self.mask))


def _span(least: float, most: float) -> str:
    return f"from {least}" + (f" to {most}" if most < math.inf else "")


def _bounds(least: float, most: float) -> dict[str, float]:
    bounds = {"minimum": least, "maximum": most}
    return {name: bound for name, bound in bounds.items() if math.isfinite(bound)}


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
