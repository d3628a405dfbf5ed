"""Lookup in the tables of samplers and schedules: names in any spelling, options in range."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from sfumato._numbers import as_number, as_whole

Row = TypeVar("Row", bound=Any)

# The smallest and the largest value of an option; between whole numbers only whole ones.
_RANGES: dict[str, tuple[float, float]] = {
    "eta": (0.0, 1.0),
    "order": (1, 4),
    "rho": (0.01, 1000.0),
    "alpha": (0.01, 1000.0),
    "beta": (0.01, 1000.0),
    "steps_offset": (0, 999),
    "original_steps": (1, 1000),
}
_CHOICES = {"family": ("sd", "sdxl")}


def find_row(name: str, table: Mapping[str, Row], kind: str) -> Row:
    """The row of a name: canonical, a label or an alias, in any case and spacing."""
    if name in table:
        return table[name]
    for row in table.values():
        if _plain(name) in {_plain(spelling) for spelling in (row.name, row.label, *row.aliases)}:
            return row
    raise ValueError(f"`{kind}` must be one of {', '.join(table)}. Received: {kind}={name!r}")


def option_names(function: Callable[..., Any], fixed: Collection[str] = ()) -> tuple[str, ...]:
    """Names of a function's keyword-only arguments, without those in `fixed`."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in fixed)


def check_options(owner: str, names: Collection[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options in their own types; ValueError unless `owner` has them and they are in range."""
    unknown = sorted(options.keys() - set(names))
    if unknown:
        raise ValueError(f"options of {owner} are {list(names)}. Received: {unknown}")
    return {name: _checked(name, value) for name, value in options.items()}


def _checked(name: str, value: Any) -> Any:
    wanted = ""
    if name in _CHOICES and value not in _CHOICES[name]:
        wanted = f"one of {_CHOICES[name]}"
    elif name in _RANGES:
        low, high = _RANGES[name]
        with suppress(ValueError, OverflowError):
            number = as_whole(value) if isinstance(low, int) else as_number(value)
            if low <= number <= high:
                return number
        wanted = f"from {low} to {high}"
    if wanted:
        raise ValueError(f"`{name}` must be {wanted}. Received: {name}={value!r}")
    return value


def _plain(name: str) -> str:
    plain = name.casefold().replace("++", "pp")
    return "".join(letter for letter in plain if letter not in " _-")
