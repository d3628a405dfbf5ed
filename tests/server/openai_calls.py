"""Pictures to and from OpenAI's API."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from fake_painters import Live
from PIL import Image


def picture(text: str | None) -> Image.Image:
    assert text is not None
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


def png(pixels: Any, mode: str | None = None) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, "uint8"), mode).save(file, "PNG")
    return file.getvalue()


def asked(live: Live) -> dict[str, Any]:
    """The request of the newest job."""
    return live.client.get("/v1/jobs?limit=1").json()["jobs"][0]["request"]
