"""The JSON schema of a request is made from its declaration, and takes what `from_json` takes."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.request import Request, RequestError
from sfumato.request.fields import specs
from sfumato.request.kinds import Choice
from sfumato.request.room_kinds import Name, Pixels

SCHEMA = Request.schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

# Values of every type, at and around the bounds that the declarations name.
VALUES: list[Any] = [
    *(None, True, False, "", "x", "-1", [], {}, [1], ["x"], {"x": 1}, {"x": "y"}, {"x": ["y"]}),
    *(-2, -1, 0, 1, 2, 7, 8, 9, 31, 512, 513, 2**26, 2**64 - 1, 2**64, 0.0, 0.5, 0.75, 0.76, 1.5),
    *(20.0, 1e300, [0.2, 0.8], [0, 1], [0.8, 1.2], [8, 16], [8, 16, 24], {"left": 8}, {"left": -1}),
    *({"eta": 0.5}, {"x": None}, {"x": {}}, "both", "x", "masked", "original", "crop", "int8"),
    *(
        "euler",
        "karras",
        "a1111",
        "float16",
        "on",
        "off",
        "latent",
        "Lanczos",
        {"s1": 0.9},
        {"s1": -1},
    ),
    *([["a", 0.5]], [["a", {"unet": 0.8}], "b"], [["a", [["unet", 1]]]], [["a", {}]], [["a"]]),
    *({"eta": 0, "momentum": -0.5}, {"eta": 11}, [0.9, 0.2, 1.3, 1.4], [0, -0.5, 15]),
]


def takes(name: str, value: Any) -> bool:
    try:
        Request.from_json({"prompt": "x", name: value})
    except RequestError:
        return False
    return True


@pytest.mark.parametrize("name", specs(Request))
def test_the_schema_takes_what_a_request_takes(name: str):
    for value in VALUES:
        fits = VALIDATOR.is_valid({"prompt": "x", name: value})
        if takes(name, value):
            assert fits, (name, value)
        elif fits:  # what a schema does not say
            kind = specs(Request)[name].kind
            order = isinstance(value, list) and len(value) == 2  # first < second, multiples of 8
            words = isinstance(value, (str, dict))  # names of rows, data URLs, names of options
            assert order or (words and not isinstance(kind, Choice)), (name, value)


def test_every_field_is_there_with_its_help_and_default():
    assert [*SCHEMA["properties"]] == [*specs(Request)]
    assert SCHEMA["required"] == ["prompt"]
    for name, spec in specs(Request).items():
        field = SCHEMA["properties"][name]
        assert (field["description"], field["x-group"]) == (spec.help, spec.group)
        if name != "prompt":
            VALIDATOR.validate({"prompt": "x", name: field["default"]})
            assert Request.from_json({"prompt": "x", name: field["default"]}) == Request(prompt="x")
    assert "dpmpp_2m" in SCHEMA["properties"]["sampler"]["anyOf"][0]["examples"]


def test_what_is_no_field_is_refused():
    assert not VALIDATOR.is_valid({"prompt": "x", "unknown": 1})
    assert not VALIDATOR.is_valid({"steps": 1})


@given(st.dictionaries(st.sampled_from([*specs(Request)]), st.sampled_from(VALUES), max_size=6))
def test_what_requests_write_fits(fields: dict[str, Any]):
    with suppress(RequestError):
        written = Request.from_json({"prompt": "x"} | fields).to_json()
        VALIDATOR.validate(written)
        assert not any(isinstance(v, float) and math.isinf(v) for v in written.values())


def test_pictures_are_data_urls():
    pictures = [name for name, spec in specs(Request).items() if isinstance(spec.kind, Pixels)]
    assert pictures == ["image", "mask"]
    for name in pictures:
        assert SCHEMA["properties"][name]["anyOf"][0]["format"] == "data-url"
    assert isinstance(specs(Request)["sampler"].kind, Name)
