"""The requests of a grid: every combination, and nothing else differs."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.request import Request, RequestError
from sfumato.request.grids import Axis, axes_of, cells, sheet

VALUES = {
    "steps": st.integers(1, 99),
    "guidance": st.floats(0, 20),
    "seed": st.integers(0, 99),
    "sampler": st.sampled_from(["euler", "ddim", "heun"]),
    "token_merging": st.floats(0, 0.75),
}


@st.composite
def grids(draw):
    names = draw(st.lists(st.sampled_from([*VALUES]), min_size=1, max_size=3, unique=True))
    return {name: draw(st.lists(VALUES[name], min_size=1, max_size=3)) for name in names}


@given(grids())
def test_every_combination_the_first_axis_fastest(grid):
    request = Request(prompt="a", width=64, height=64)
    found = cells(request, axes_of(grid.items()))
    assert len(found) == math.prod(map(len, grid.values()))
    combinations = product(*[*grid.values()][::-1])
    for cell, values in zip(found, combinations, strict=True):
        assert cell == request.changed(**dict(zip(grid, values[::-1], strict=True)))


@given(grids())
def test_an_axis_as_text(grid):
    """As it stands on a command line."""
    for axis in axes_of(grid.items()):
        texts = [label.removeprefix(axis.name.replace("_", " ")).strip() for label in axis.labels]
        read = Axis.read(f"{axis.name}={','.join(texts)}")
        plain = Request(prompt="a")
        assert cells(plain, [read]) == cells(plain, [axis])


def test_no_axes_are_the_request_itself():
    request = Request(prompt="a", count=3)
    assert cells(request, ()) == [request]


def test_words_are_replaced_wherever_they_are():
    request = Request(prompt="a red apple, red", negative_prompt="blue")
    grid = {"prompt": ["red", "green", ""], "negative_prompt": ["blue", "grey"]}
    found = [(cell.prompt, cell.negative_prompt) for cell in cells(request, axes_of(grid.items()))]
    prompts = ["a red apple, red", "a green apple, green", "a  apple, "]
    assert found == [(prompt, negative) for negative in ("blue", "grey") for prompt in prompts]
    two = (Axis("prompt", ("red", "green")), Axis("prompt", ("apple", "pear")))
    assert cells(request, two)[-1].prompt == "a green pear, green"
    with pytest.raises(RequestError, match="`prompt` must have the first value of its axis, 'blu"):
        cells(request, axes_of([("prompt", ["blue"])]))


def test_a_value_that_changes_the_sampler_brings_its_schedule():
    sampler = Axis.read("sampler=DPM++ 2M Karras,Euler a")
    found = cells(Request(prompt="a"), [sampler])
    assert [(c.sampler, c.schedule) for c in found] == [("dpmpp_2m", "karras"), ("euler_a", None)]
    assert sampler.labels == ["sampler DPM++ 2M Karras", "sampler Euler a"]


def test_labels():
    assert Axis("guidance", (3, 7.5, None)).labels == ["guidance 3", "guidance 7.5", "guidance -"]
    assert Axis("seed_resize", ((64, 32),)).labels == ["seed resize 64x32"]
    assert Axis("image", (np.zeros((8, 8, 3)),)).labels == ["image 1"]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"count": [1, 2]}, "`grid` must have another field than `count`"),
        ({"template": ["a"]}, "`grid` must have another field than `template`"),
        ({"colour": ["red"]}, "must have fields among prompt"),
        ({"steps": []}, "`steps` must have values in a grid"),
        ({n: [8] for n in ("steps", "seed", "width", "height")}, "`grid` must have at most 3"),
        ({"steps": [1, 0]}, "`steps` must be a whole number from 1"),
    ],
)
def test_what_makes_no_grid_is_refused(grid, message):
    with pytest.raises(RequestError) as refused:
        cells(Request(prompt="a"), axes_of(grid.items()))
    assert message in str(refused.value)


def test_the_sheet_has_each_picture_in_its_place():
    axes = axes_of({"steps": [1, 2, 3], "guidance": [3, 7], "seed": [1, 2]}.items())
    # No grey, in which the letters are drawn.
    shades = [np.broadcast_to(np.uint8([200, 0, 10 * i]), (120, 100, 3)) for i in range(12)]
    found = sheet(axes, shades, "a red apple")
    places = []
    for shade in shades:
        top, left = np.argwhere((found == shade[0, 0]).all(axis=-1)).min(axis=0)
        assert (found[top : top + 120, left : left + 100] == shade).all()
        places.append((top, left))
    rows, columns = ({place[i] for place in places} for i in (0, 1))
    assert (len(rows), len(columns)) == (4, 3)
    assert places == [*product(sorted(rows), sorted(columns))]
