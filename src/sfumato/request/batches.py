"""What is painted together: pictures of one key, in few sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from sfumato.request.request import Request

T = TypeVar("T")


def key_of(request: Request) -> tuple[Any, ...]:
    """Completed requests of one key may be painted together."""
    return request.shape_key, request.batch_key


def parts_of(units: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Batches of 1, 2, 4, ... pictures: each size is an executable of its own."""
    while units:
        size = 1
        while 2 * size <= min(most, len(units)):
            size *= 2
        yield units[:size]
        units = units[size:]
