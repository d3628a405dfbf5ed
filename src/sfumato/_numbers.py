"""Numbers of any type as Python's own: those of NumPy, JSON, sliders and tensors of one element."""

from __future__ import annotations

import math
import re
from typing import Any

MAX_PIXELS = 2**26
"""The most pixels of a picture that is read or made."""

LAST_SEED = 2**64 - 1
"""The greatest seed."""


def as_whole(value: Any) -> int:
    """A whole number of any type; ValueError or OverflowError if it is none."""
    value = plain(value)
    number = int(value)
    if number != value:
        raise ValueError
    return number


def as_number(value: Any) -> float:
    """A finite number of any type; ValueError or OverflowError if it is none."""
    number = float(plain(value))
    if not math.isfinite(number):
        raise ValueError
    return number


def whole_number(name: str, value: Any, least: int, most: float = math.inf) -> int:
    """The whole number that an argument is.

    Raises:
        ValueError: it is none from ``least`` to ``most``; names the argument.
    """
    try:
        if least <= (number := as_whole(value)) <= most:
            return number
    except (ValueError, OverflowError):
        pass
    must = f"be a whole number {span(least, most)}"
    raise ValueError(f"`{name}` must {must}. Received: {name}={value!r}")


def span(least: float, most: float) -> str:
    """Words for a range."""
    return f"from {least}" + (f" to {most}" if most < math.inf else "")


def plain(value: Any) -> Any:
    """One number: an array's or a tensor's in Python's own type; ValueError if it is none."""
    dtype = str(getattr(value, "dtype", ""))
    kind = re.search("int|float", dtype)
    if getattr(value, "ndim", 0) or (dtype and not kind):
        raise ValueError
    if kind:
        return int(value) if kind[0] == "int" else float(value)
    if isinstance(value, (bool, str, bytes, bytearray)):
        raise ValueError
    if not hasattr(value, "__int__") or not hasattr(value, "__float__"):
        raise ValueError
    return value
