"""How tests speak A1111's API."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from fake_painters import Live
from PIL import Image

URL = "/sdapi/v1"


def b64(pixels: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, "uint8")).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


def post(live: Live, body: dict[str, Any], path: str = "txt2img") -> dict[str, Any]:
    answer = live.client.post(f"{URL}/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()
