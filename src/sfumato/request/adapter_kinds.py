"""Sorts of values about adapters: files with weights, and the folders that they are in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sfumato._numbers import as_number
from sfumato.request.kinds import Kind


class Loras(Kind):
    """LoRAs with their weights, written as "FILE:0.8" or "FILE:unet=0.8,text=0.5", each by itself.

    A weight is a number, or pairs of a part or block of the model and a number.
    """

    must = "be LoRA files or names with weights, such as style.safetensors:0.8"
    metavar = "FILE[:W]"
    action = "extend"

    def check(self, value: Any) -> tuple[tuple[str, Any], ...]:
        items = [value] if isinstance(value, (str, Path)) else value
        if not isinstance(items, (tuple, list)):
            raise ValueError
        return tuple(self._pair(item) for item in items)

    @staticmethod
    def _pair(item: Any) -> tuple[str, Any]:
        pair = (item, 1.0) if isinstance(item, (str, Path)) else item
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError
        name, weight = pair
        if not isinstance(name, (str, Path)) or not str(name):
            raise ValueError
        if isinstance(weight, Mapping):
            weight = [*weight.items()]
        if not isinstance(weight, (tuple, list)):
            return str(name), as_number(weight)
        if not all(isinstance(each, (tuple, list)) and len(each) == 2 for each in weight):
            raise ValueError
        if not all(isinstance(part, str) for part, _ in weight):
            raise ValueError
        pairs = {part: as_number(number) for part, number in weight}
        if not pairs:
            raise ValueError
        return str(name), tuple(sorted(pairs.items()))

    def read(self, text: str) -> tuple[tuple[str, Any], ...]:
        texts = text.split("|") if text else ()
        return tuple(lora for each in texts for lora in self._read_one(each.strip()))

    def _read_one(self, text: str) -> tuple[tuple[str, Any], ...]:
        name, colon, said = text.rpartition(":")
        with suppress(ValueError):
            if colon and "=" in said:
                return self.check([(name, [_weight(pair) for pair in said.split(",")])])
            if colon:
                return self.check([(name, float(said))])
        return self.check([text])

    def write(self, value: Any) -> str:
        """Names without folders and endings: a recipe is for strangers."""
        return "|".join(f"{plain_name(name)}:{_written(weight)}" for name, weight in value)

    def to_json(self, value: Any) -> list[list[Any]]:
        return [[plain_name(file), dict(w) if isinstance(w, tuple) else w] for file, w in value]

    def from_json(self, value: Any) -> Any:
        loras = self.check(value)
        if not all(name == plain_name(name) and ":" not in name for name, _ in loras):
            raise ValueError
        return loras

    def schema(self) -> dict[str, Any]:
        name = {"type": "string", "minLength": 1}
        parts = {"type": "object", "additionalProperties": {"type": "number"}, "minProperties": 1}
        lists = {"type": "array", "items": {"type": "array"}, "minItems": 1}
        weight = {"anyOf": [{"type": "number"}, parts, lists]}
        pair = {"type": "array", "prefixItems": [name, weight], "minItems": 2, "maxItems": 2}
        return {"anyOf": [name, {"type": "array", "items": {"anyOf": [name, pair]}}]}

    def recall(self, text: str) -> Any:
        return tuple((plain_name(name), weight) for name, weight in self.read(text))


def plain_name(file: str) -> str:
    """The name of a file as one of the user's folder has it: without its place and ending."""
    name = re.split(r"[\\/]", file)[-1].lstrip(".")
    return re.sub(r"\.(safetensors|pt|pth|ckpt|bin)$", "", name, flags=re.IGNORECASE)


def _weight(text: str) -> tuple[str, float]:
    """A part and its weight, of "unet=0.8"."""
    part, _, number = text.partition("=")
    return part.strip(), float(number)


def _written(weight: Any) -> str:
    """A weight as ``read`` takes it."""
    pairs = weight if isinstance(weight, tuple) else ()
    return ",".join(f"{part}={number}" for part, number in pairs) or str(weight)


class Folder(Kind):
    """A folder of this machine, which only its user names."""

    must = "be a folder"
    metavar = "FOLDER"

    def check(self, value: Any) -> str:
        from sfumato._files import expanded

        try:
            folder = expanded(str(value))
        except (OSError, RuntimeError) as error:  # no such user
            raise ValueError from error
        if not folder.is_dir():
            raise ValueError
        return str(folder)

    def to_json(self, value: Any) -> None:
        return None

    def from_json(self, value: Any) -> Any:
        raise ValueError

    def schema(self) -> dict[str, Any]:
        return {"type": "null"}
