"""The page of a request's fields is made from the declarations."""

from __future__ import annotations

import json
import re

from docs import make_reference
from sfumato.request import Request
from sfumato.request.fields import specs


def test_the_page_is_current() -> None:
    page = make_reference.PAGE.read_text("utf-8")
    assert page == make_reference.make_page(), "run docs/make_reference.py"


def test_every_field_is_in_it_once() -> None:
    rows = re.findall(r"^\| `(\w+)`", make_reference.make_page(), re.MULTILINE)
    assert sorted(rows) == sorted(specs(Request))


def test_its_examples_are_one_request() -> None:
    cells = dict(re.findall(r"^\| ([^|]*) \| `(.*)`", make_reference.HEAD, re.MULTILINE))
    request = eval(cells["the same as a value"], {"Request": Request})
    assert Request.from_json(json.loads(cells["JSON"])) == request
    items = ", ".join(f"{key}: {value}" for key, value in request.items().items())
    assert cells["a picture's recipe"].startswith(items)
