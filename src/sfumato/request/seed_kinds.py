"""Sorts of values about the noise of a picture and its edges: seeds, sizes, axes."""

from __future__ import annotations

from typing import Any

from sfumato._numbers import LAST_SEED, as_whole
from sfumato.request.kinds import Choice, Kind, Whole, pair_of


class Seed(Whole):
    """The seeds of the noise; -1, as other programs have it, leaves the choice open."""

    def __init__(self) -> None:
        super().__init__(0, LAST_SEED)

    @property
    def must(self) -> str:
        return f"{super().must}, or -1 for any"

    def check(self, value: Any) -> Any:
        return None if as_whole(value) == -1 else super().check(value)

    def schema(self) -> dict[str, Any]:
        return super().schema() | {"minimum": -1}


class Size(Kind):
    """Width and height in pixels, multiples of 8, written as "512x768"."""

    must = "be a width and a height in multiples of 8, such as 512x768"
    metavar = "WxH"

    def check(self, value: Any) -> tuple[int, int]:
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise ValueError
        width, height = (Whole(8, 99_999).check(side) for side in value)
        if width % 8 or height % 8:
            raise ValueError
        return width, height

    def read(self, text: str) -> tuple[int, int]:
        return self.check([Whole(8).read(side) for side in text.split("x")])

    def write(self, value: tuple[int, int]) -> str:
        return "x".join(map(str, value))

    def to_json(self, value: tuple[int, int]) -> list[int]:
        return list(value)

    def schema(self) -> dict[str, Any]:
        return pair_of(Whole(8, 99_999))


class Axes(Choice):
    """The axes along which a picture repeats; A1111 knows "both" alone, as True."""

    def check(self, value: Any) -> Any:
        if isinstance(value, bool):
            return "both" if value else None
        return super().check(value)

    def read(self, text: str) -> Any:
        return self.check({"True": True, "False": False}.get(text, text))

    def write(self, value: str) -> str:
        return "True" if value == "both" else value

    def schema(self) -> dict[str, Any]:
        return {"enum": [*self.words, True, False]}
