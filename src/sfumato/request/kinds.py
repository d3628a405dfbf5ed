"""Sorts of values that a field may hold: how each is checked, read from text and written.

A kind raises a bare ValueError; whoever knows the name of the field says what it must be. Kinds are
no dataclasses, because each of these would make the command line start later.
"""

from __future__ import annotations

import math
import re
from typing import Any

from sfumato._numbers import MAX_PIXELS, as_number, as_whole, plain, span


class Kind:
    """A sort of value. `must` completes the sentence "the value must ..."."""

    must = "be text"
    metavar = "TEXT"
    action = "store"
    """Of argparse; others than this one are for options that may be given several times."""

    @property
    def must_read(self) -> str:
        """As `must`, of the text that `read` takes."""
        return self.must

    def check(self, value: Any) -> Any:
        """The value in its own type; ValueError if it is none of this kind."""
        if not isinstance(value, str):
            raise ValueError
        return value

    def received(self, name: str, value: Any, error: Exception) -> str:
        """The words for a value that `check` refused with an error."""
        return f"{name}={value!r}"

    def read(self, text: str) -> Any:
        """The value that a text states; empty text states none."""
        return self.check(text) if text else None

    def recall(self, text: str) -> Any:
        """The value that a recipe states, which may be a stranger's."""
        return self.read(text)

    def write(self, value: Any) -> str:
        """The text that `recall` reads."""
        return str(value)

    def to_json(self, value: Any) -> Any:
        """The value in JSON's types; None: it is nothing for other machines."""
        return value

    def from_json(self, value: Any) -> Any:
        """The value that `to_json` gave; never a file's name."""
        return self.check(value)

    def schema(self) -> dict[str, Any]:
        """The JSON schema of what `from_json` takes."""
        return {"type": "string"}


class Whole(Kind):
    """Whole numbers of any type, from `least` to `most`."""

    metavar = "N"

    def __init__(self, least: float, most: float = math.inf) -> None:
        self.least, self.most = least, most

    @property
    def must(self) -> str:
        return f"be a whole number {span(self.least, self.most)}"

    def check(self, value: Any) -> int:
        number = as_whole(value)
        if not self.least <= number <= self.most:
            raise ValueError
        return number

    def read(self, text: str) -> int:
        if not re.fullmatch(r"-?\d{1,20}", text):
            raise ValueError
        return self.check(int(text))

    def schema(self) -> dict[str, Any]:
        return {"type": "integer"} | _bounds(self.least, self.most)


class Number(Kind):
    """Finite numbers from `least` to `most`; `above`: `least` itself is not one of them."""

    metavar = "X"

    def __init__(self, least: float, most: float = math.inf, above: bool = False) -> None:
        self.least, self.most, self.above = least, most, above

    @property
    def must(self) -> str:
        if self.above:
            return f"be a number in ({self.least}, {self.most}]"
        return f"be a number {span(self.least, self.most)}"

    def check(self, value: Any) -> float:
        number = as_number(value)
        if not self.least <= number <= self.most:
            raise ValueError
        if self.above and number == self.least:
            raise ValueError
        return number

    def read(self, text: str) -> float:
        return self.check(float(text))

    def write(self, value: float) -> str:
        return repr(value).removesuffix(".0")

    def schema(self) -> dict[str, Any]:
        bounds = _bounds(self.least, self.most)
        if self.above:
            bounds["exclusiveMinimum"] = bounds.pop("minimum")
        return {"type": "number"} | bounds


class Interval(Kind):
    """Two numbers, 0 <= first < second <= 1, written as "0.2:0.8"."""

    must = "be two numbers, 0 <= first < second <= 1, such as 0.2:0.8"
    metavar = "A:B"

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

    def schema(self) -> dict[str, Any]:
        return pair_of(Number(0, 1))


class Timesteps(Kind):
    """Steps of a model's training, written as "999,749"; in any order, kept as they fall."""

    must = "be whole numbers, none of them twice, such as 999,749,499,249"
    metavar = "N,N,.."

    def check(self, value: Any) -> tuple[int, ...]:
        if not isinstance(value, (tuple, list)):
            raise ValueError
        steps = sorted(map(Whole(0).check, value), reverse=True)
        if not steps or len(steps) != len(set(steps)):
            raise ValueError
        return tuple(steps)

    def read(self, text: str) -> tuple[int, ...]:
        return self.check([Whole(0).read(step.strip()) for step in text.split(",")])

    def write(self, value: tuple[int, ...]) -> str:
        return ",".join(map(str, value))

    def to_json(self, value: tuple[int, ...]) -> list[int]:
        return list(value)

    def from_json(self, value: Any) -> tuple[int, ...]:
        return self.read(value) if isinstance(value, str) else self.check(value)

    def schema(self) -> dict[str, Any]:
        items = {"type": "integer", "minimum": 0}
        lists = {"items": items, "minItems": 1, "uniqueItems": True}
        return {"type": ["array", "string"], **lists, "pattern": r"^ *\d+ *(, *\d+ *)*$"}


class Choice(Kind):
    """One of a few words."""

    metavar = "WORD"

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words

    @property
    def must(self) -> str:
        return f"be one of {', '.join(self.words)}"

    def check(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise ValueError
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": [*self.words]}


class Label(Choice):
    """One of a few words, which recipes write as A1111 does: "No norm" for no_norm.

    `labels` are the words for which A1111 says something else.
    """

    def __init__(self, words: tuple[str, ...], **labels: str) -> None:
        super().__init__(words)
        self.labels = labels

    def read(self, text: str) -> str:
        word = text.strip().casefold()
        other = {label.casefold(): word for word, label in self.labels.items()}
        return self.check(other.get(word, word.replace(" ", "_")))

    def write(self, value: str) -> str:
        return self.labels.get(value, value.replace("_", " ").capitalize())


class Options(Kind):
    """Numbers or words by name, written as "eta=0.5,order=3"."""

    must = "be options with their values, such as eta=0.5,order=3"
    metavar = "K=V,.."

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
        number = plain(value)
        return int(number) if isinstance(number, int) else as_number(number)

    def read(self, text: str) -> dict[str, Any]:
        pairs = (item.partition("=") for item in text.split(",") if item.strip())
        return self.check({name.strip(): value.strip() for name, _, value in pairs})

    def write(self, value: dict[str, Any]) -> str:
        return ",".join(f"{name}={option}" for name, option in value.items())

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": {"type": ["number", "string"]}}


class Sides(Options):
    """Pixels at the sides of a picture, written as "left=128,top=64"."""

    must = "be sides with pixels, of left, right, top and bottom, such as left=128,top=64"
    metavar = "SIDE=N,.."

    def check(self, value: Any) -> dict[str, int]:
        sides = super().check(value)
        if sides.keys() - {"left", "right", "top", "bottom"}:
            raise ValueError
        pixels = Whole(0, MAX_PIXELS)
        return {side: n for side, given in sides.items() if (n := pixels.check(given))}

    def schema(self) -> dict[str, Any]:
        sides = dict.fromkeys(("left", "right", "top", "bottom"), Whole(0, MAX_PIXELS).schema())
        return {"type": "object", "properties": sides, "additionalProperties": False}


def pair_of(kind: Kind) -> dict[str, Any]:
    """The JSON schema of two values of a kind."""
    return {"type": "array", "items": kind.schema(), "minItems": 2, "maxItems": 2}


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
