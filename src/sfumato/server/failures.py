"""The reasons for which a request fails: a stable code each, and words without secrets."""

from __future__ import annotations

import errno
import sqlite3
import traceback
from dataclasses import dataclass

from sfumato.request import RequestError

MESSAGES = {
    "cancelled": "The request was cancelled.",
    "deadline": "The request took longer than this server allows.",
    "disk_full": "The server has no room left to keep the picture.",
    "internal": "The server failed. Its log has the reason.",
    "interrupted": "The server was stopped before the request was done.",
    "not_finite": "A number overflowed: try a lower guidance, or a model in another precision.",
    "out_of_memory": "The device has too little memory: try a smaller size.",
}
"""The words of each code but those of `invalid_request`, which name the field."""

MOST = 500
"""Characters of a message: a request may be long, and errors quote it."""

_MEMORY = ("out of memory", "resource_exhausted", "bad_alloc", "cannot allocate memory")
_TYPES = {"OutOfMemoryError", "ResourceExhaustedError"}  # of PyTorch, of TensorFlow


@dataclass(frozen=True)
class Failure:
    """The reason why a request failed."""

    code: str
    message: str
    field: str | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """The reason that an exception is, without paths or traces."""
        if isinstance(error, RequestError):
            return cls("invalid_request", shortened(str(error)), error.name)
        return cls.named(code_of(error))

    @classmethod
    def named(cls, code: str) -> Failure:
        return cls(code, MESSAGES[code])

    def to_json(self) -> dict[str, str]:
        field = {} if self.field is None else {"field": self.field}
        return {"code": self.code, "message": self.message} | field


@dataclass(frozen=True)
class Trouble:
    """An error without its frames, which hold the arrays of what failed."""

    failure: Failure
    text: str
    """For the log: what happened where, without the words of a request."""

    @classmethod
    def of(cls, error: Exception) -> Trouble:
        if isinstance(error, ElsewhereError):
            return error.trouble
        said = "" if isinstance(error, RequestError) else f": {error}"
        trace = "".join(traceback.format_tb(error.__traceback__))
        return cls(Failure.of(error), f"{type(error).__name__}{said}\n{trace}")


class ElsewhereError(Exception):
    """The trouble of another process."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.text)
        self.trouble = trouble


def code_of(error: BaseException) -> str:
    """The code of an exception that is no `RequestError`."""
    if is_out_of_memory(error):
        return "out_of_memory"
    # By its name, as its module loads Keras, and an API may ask in a process without a model.
    if any(kind.__name__ == "NotFiniteError" for kind in type(error).__mro__):
        return "not_finite"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk_full"
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return "disk_full"
    return "internal"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine had too little memory, on any backend."""
    if isinstance(error, MemoryError) or type(error).__name__ in _TYPES:
        return True
    text = str(error)[:2000].casefold()
    return isinstance(error, RuntimeError) and any(word in text for word in _MEMORY)


def shortened(text: str) -> str:
    """The text, cut if it is long."""
    return text if len(text) <= MOST else f"{text[:MOST]} ..."
