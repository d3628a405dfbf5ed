"""The request for pictures: one value, whose fields are declared once."""

from __future__ import annotations

from sfumato.request.request import Request, RequestError

__all__ = ["Request", "RequestError"]
