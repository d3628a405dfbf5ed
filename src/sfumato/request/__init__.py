"""What is asked for: `Request`, whose fields are declared once."""

from __future__ import annotations

from sfumato.request.request import Request, RequestError

__all__ = ["Request", "RequestError"]
