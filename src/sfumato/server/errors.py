"""Errors as clients read them: a status, a stable code, words, and the id of the request.

OpenAI's clients read `error.message`, `error.type`, `error.param` and `error.code`, and the native
API has the same shape. A1111's clients read `detail`.
"""

from __future__ import annotations

from typing import Any

from sfumato.request import RequestError
from sfumato.server.failures import Failure, shortened
from sfumato.server.queue import ClosedError, QueueFullError

STATUS = {
    "cancelled": 499,
    "client_closed": 499,
    "deadline": 504,
    "disk_full": 507,
    "draining": 503,
    "forbidden": 403,
    "internal": 500,
    "interrupted": 503,
    "invalid_json": 400,
    "invalid_request": 400,
    "method_not_allowed": 405,
    "not_finite": 422,
    "not_found": 404,
    "out_of_memory": 507,
    "queue_full": 429,
    "too_large": 413,
    "too_slow": 408,
    "unauthorized": 401,
    "unsupported_media_type": 415,
}

RETRY_AFTER = 5
"""Seconds after which a client may ask again."""


class ApiError(Exception):
    """An answer that is an error.

    Args:
        code: of `STATUS`.
        message: for people.
        field: the part of the request that is wrong.
    """

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(code, message)
        self.code, self.message, self.field = code, shortened(message), field

    @property
    def status(self) -> int:
        return STATUS[self.code]

    @classmethod
    def of(cls, error: Exception) -> ApiError:
        """The answer to an exception."""
        if isinstance(error, ApiError):
            return error
        if isinstance(error, QueueFullError):
            return cls("queue_full", "Too many requests are waiting. Try again later.")
        if isinstance(error, ClosedError):
            return cls("draining", "The server is shutting down.")
        return cls.failed(Failure.of(error))

    @classmethod
    def failed(cls, failure: Failure) -> ApiError:
        """The answer for a job that failed."""
        return cls(failure.code, failure.message, failure.field)

    @property
    def headers(self) -> dict[str, str]:
        if self.code in ("queue_full", "draining", "interrupted"):
            return {"Retry-After": str(RETRY_AFTER)}
        return {"WWW-Authenticate": "Bearer"} if self.code == "unauthorized" else {}

    def body(self, path: str, request_id: str) -> dict[str, Any]:
        """The JSON for the API of a path."""
        if path.startswith("/sdapi/"):
            return {
                "error": self.code,
                "detail": self.message,
                "body": "",
                "errors": self.message,
                "request_id": request_id,
            }
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        kinds = {"unauthorized": "authentication_error", "queue_full": "rate_limit_error"}
        error = {
            "message": self.message,
            "type": kinds.get(self.code, kind),
            "param": self.field,
            "code": self.code,
            "request_id": request_id,
        }
        return {"error": error}


def not_found(what: str) -> ApiError:
    return ApiError("not_found", f"There is no such {what}.")


def invalid(error: ValueError, field: str | None = None) -> ApiError:
    """The answer to what a request says wrong."""
    field = error.name if isinstance(error, RequestError) else field
    return ApiError("invalid_request", str(error), field)
