"""Requests as JSON that a stranger sends."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from request_samples import IMAGE

from sfumato.request import Request, RequestError


def url(content: bytes, head: str = "data:image/png;base64,") -> str:
    return head + base64.b64encode(content).decode()


def test_json_names_no_files(files, monkeypatch):
    for name in ("image", "mask"):
        for path in ("image.png", "/etc/passwd", "file:///etc/passwd", "http://localhost/a.png"):
            with pytest.raises(RequestError) as refused:
                Request.from_json({"prompt": "a", name: path})
            assert refused.value.name == name
    # A model is a name, and nothing looks for it.
    monkeypatch.setattr("pathlib.Path.exists", None)
    assert Request.from_json({"prompt": "a", "model": "/etc/passwd"}).model == "/etc/passwd"


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
def test_json_has_pictures_as_data_urls(file_format):
    file = io.BytesIO()
    Image.fromarray(IMAGE).save(file, file_format)
    request = Request.from_json(
        {"prompt": "a", "image": url(file.getvalue(), f"data:image/{file_format};base64,")}
    )
    decoded = np.asarray(Image.open(file).convert("RGB"))
    assert np.array_equal(request.image, decoded)
    assert Request.from_json(request.to_json()) == request


@pytest.mark.parametrize(
    "text",
    [
        *("", "data:image/png;base64,", "data:image/png;base64,????", "data:image/png,abc", 5, []),
        *(url(b"no picture"), url(b"\x89PNG\r\n\x1a\n"), url(b"BM", "data:image/bmp;base64,")),
        url(b"GIF89a", "data:text/plain;base64,"),
    ],
)
def test_json_with_no_picture_is_refused(text):
    with pytest.raises(RequestError, match="`image` must"):
        Request.from_json({"prompt": "a", "image": text})


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": "a", "magic": 1}, "Request"),
        ({"prompt": "a", "__class__": 1}, "Request"),
        ({"prompt": "a", "steps": "20"}, "steps"),
        ({"prompt": "a", "count": None}, "count"),
        ({"prompt": "a", "guidance_interval": [0]}, "guidance_interval"),
        ({"prompt": "a", "sampler": {"name": "euler"}}, "sampler"),
    ],
)
def test_json_that_says_what_cannot_be_is_refused_by_name(values, name):
    with pytest.raises(RequestError) as refused:
        Request.from_json(values)
    assert refused.value.name == name
