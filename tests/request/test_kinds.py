"""Sorts of values: what they read is what they write, and what no value may be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.request.kinds import Choice, Interval, Kind, Number, Options, Whole
from sfumato.request.room_kinds import Name, Pixels

UNIT = st.floats(0, 1)


def refuses(function, value) -> bool:
    """Whether there is a ValueError, and no other."""
    try:
        function(value)
    except ValueError:
        return True
    return False


@given(st.integers(-(10**20) + 1, 10**20 - 1))
def test_whole_numbers(number):
    kind = Whole(-math.inf)
    assert kind.read(kind.write(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers(number):
    kind = Number(-math.inf)
    assert kind.read(kind.write(number)) == number


@given(UNIT, UNIT)
def test_intervals(first, second):
    kind = Interval()
    if first < second:
        assert kind.read(kind.write((first, second))) == (first, second)
    else:
        assert refuses(kind.check, (first, second))


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("eta=0.5", {"eta": 0.5}),
        (" order = 3 , eta=1e-3,", {"eta": 0.001, "order": 3}),
        ("family=sdxl", {"family": "sdxl"}),
    ],
)
def test_options(text, options):
    kind = Options()
    assert kind.read(text) == options
    assert kind.read(kind.write(options)) == options
    assert [*kind.read(text)] == sorted(options)


@pytest.mark.parametrize("text", ["eta", "eta=", "=1", "eta=1;order=2", "eta=1=2", "eta=inf"])
def test_texts_that_are_no_options(text):
    assert refuses(Options().read, text)


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (Whole(1), ["", "0", "1.0", "1e3", " 1", "+1", "٣x", "9" * 21, "-" + "9" * 5000]),
        (Number(0), ["", "x", "nan", "inf", "-1", "1e999", "0x1", "1,5"]),
        (Number(0, 1, above=True), ["0", "-0.0", "1.1"]),
        (Interval(), ["", "0.5", "0.8:0.2", "0:1:1", "0:1.1", "nan:1", "a:b"]),
        (Choice(("a", "b")), ["c", "A", "a "]),
        (Pixels(), ["", ".", "missing.png", "~nobody-here/a.png", "a\0b"]),
    ],
)
def test_texts_that_state_no_value(kind, texts):
    for text in texts:
        assert refuses(kind.read, text), text


def test_an_empty_text_states_no_word():
    assert Kind().read("") is Choice(("a",)).read("") is Name("sampler").read("") is None


def test_ranges():
    for low, high in ((Whole(2, 3), 1), (Number(2, 3), 1e-9)):
        assert (low.check(2), low.check(3)) == (2, 3)
        for value in (2 - high, 3 + high):
            assert refuses(low.check, value)
    assert Number(0, 1, above=True).check(5e-324) == 5e-324


@pytest.mark.parametrize(
    ("kind", "must"),
    [
        (Whole(1), "be a whole number from 1"),
        (Whole(0, 9), "be a whole number from 0 to 9"),
        (Number(0), "be a number from 0"),
        (Number(0, 0.75), "be a number from 0 to 0.75"),
        (Number(0, 1, above=True), "be a number in (0, 1]"),
        (Choice(("a", "b")), "be one of a, b"),
    ],
)
def test_what_a_value_must_be(kind, must):
    assert kind.must == kind.must_read == must


def test_types():
    assert type(Whole(0).check(np.int8(3))) is int
    assert type(Number(0).check(np.float32(3))) is float
    assert type(Number(0).check(3)) is float
    assert type(Interval().check([0, np.float32(1)])) is tuple
