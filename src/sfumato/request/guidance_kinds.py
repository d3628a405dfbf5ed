"""The sort of value that switches a rule of guidance on, with its numbers."""

from __future__ import annotations

from typing import Any

from sfumato.request.kinds import Number, Options


class Tuned(Options):
    """Some of a few numbers by name, written "b1=1.5,b2=1.6"; "on" leaves all to the model.

    All of them, in their order, may come as a sequence.
    """

    def __init__(self, **numbers: Number) -> None:
        self.numbers = numbers

    @property
    def must(self) -> str:
        return f"be on, off, or numbers by name, of {', '.join(self.numbers)}"

    def check(self, value: Any) -> Any:
        if value in (False, "off"):
            return None
        if value in (True, "on"):
            return {}
        if isinstance(value, (tuple, list)):
            value = dict(zip(self.numbers, value, strict=True))
        given = super().check(value)
        if given.keys() - self.numbers.keys():
            raise ValueError
        numbers = self.numbers.items()
        return {name: kind.check(given[name]) for name, kind in numbers if name in given}

    def read(self, text: str) -> Any:
        return super().read(text) if "=" in text else self.check(text or "off")

    def write(self, value: dict[str, Any]) -> str:
        return super().write(value) or "on"

    def schema(self) -> dict[str, Any]:
        kinds = {name: kind.schema() for name, kind in self.numbers.items()}
        some = {"type": "object", "properties": kinds, "additionalProperties": False}
        n = len(kinds)
        all_ = {"type": "array", "prefixItems": [*kinds.values()], "minItems": n, "maxItems": n}
        return {"anyOf": [some, all_, {"enum": ["on", "off", True, False, 0, 1]}]}
