"""Contact sheets: every picture is there, whole, and in its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.pictures import contact_sheet, gallery, save
from sfumato.pictures.sheets import MOST

SIDE = st.integers(1, 40)


def where(sheet: np.ndarray, picture: np.ndarray) -> tuple[int, int]:
    """The place of a picture of one colour, all of which must be there."""
    there = (sheet == picture[0, 0]).all(axis=-1)
    assert there.sum() == picture.shape[0] * picture.shape[1]
    top, left = np.argwhere(there).min(axis=0)
    assert there[top : top + picture.shape[0], left : left + picture.shape[1]].all()
    return int(top), int(left)


@given(st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=9), st.integers(1, 4), st.booleans())
@settings(max_examples=30, deadline=None)
def test_pictures_of_any_size_keep_their_pixels(sizes, columns, labelled):
    # No grey, in which the letters are drawn.
    colours = [np.uint8([200 + i, 0, i]) for i in range(len(sizes))]
    pictures = [np.broadcast_to(c, (*size, 3)) for c, size in zip(colours, sizes, strict=True)]
    texts = {"labels": ["a b"], "row_labels": ["c"], "column_labels": ["d"], "title": "e"}
    sheet = contact_sheet(pictures, columns, **(texts if labelled else {}))
    middles = [np.add(where(sheet, p), np.divide(p.shape[:2], 2)) for p in pictures]
    for i, (y, x) in enumerate(middles):
        first, above = middles[columns * (i // columns)], middles[i % columns]
        assert abs(y - first[0]) <= 0.5
        assert abs(x - above[1]) <= 0.5
        assert i < columns or y > middles[i - columns][0]


def test_labels_are_drawn_and_long_ones_end():
    picture = np.full((100, 100, 3), 128, np.uint8)
    plain = contact_sheet([picture])
    assert contact_sheet([picture], title="a").shape[0] > plain.shape[0]
    assert contact_sheet([picture], labels=["a"]).shape[0] > plain.shape[0]
    assert contact_sheet([picture], row_labels=["a"]).shape[1] > plain.shape[1]
    for long in ("word " * 10**6, "w" * 10**6):
        sheet = contact_sheet([picture], labels=[long])
        assert sheet.shape[1] == plain.shape[1]
        assert sheet.shape[0] < 3 * plain.shape[0]


def test_large_sheets_are_made_smaller():
    picture = np.zeros((2048, 2048, 3), np.uint8)
    height, width, _ = contact_sheet([picture] * 9).shape
    assert 0.9 * MOST < height * width < 1.1 * MOST
    assert contact_sheet([picture], size=64).shape == (64 + 16, 64 + 16, 3)


@pytest.mark.parametrize(
    ("pictures", "options", "message"),
    [
        ([], {}, "`pictures` must hold at least one picture"),
        ([np.zeros((8, 8, 3))], {"labels": ["a", "b"]}, "`labels` must be at most 1 texts"),
        ([np.zeros((8, 8, 3))], {"row_labels": ["a", "b"]}, "`row_labels` must be at most 1"),
        ([np.zeros((8, 8, 3))], {"columns": 1.5}, "`columns` must be a whole number from 1"),
        ([np.zeros((8, 8, 3))], {"size": 0}, "`size` must be a whole number from 1"),
        ([np.zeros((8, 8, 2))], {}, "the shape"),
    ],
)
def test_what_makes_no_sheet_is_refused(pictures, options, message):
    with pytest.raises(ValueError, match=message):
        contact_sheet(pictures, **options)


def test_a_gallery_has_the_pictures_by_name(tmp_path):
    colours = {"b.png": (0, 200, 0), "a.png": (200, 0, 0)}
    for name, colour in colours.items():
        save(tmp_path / name, np.broadcast_to(np.uint8(colour), (200, 100, 3)))
    (tmp_path / "d.png").write_bytes(b"")
    (tmp_path / "e.txt").write_text("")
    with pytest.warns(UserWarning, match="left out of the gallery"):
        sheet = gallery(tmp_path, 3, 100)
    _, red = where(sheet, np.broadcast_to(np.uint8(colours["a.png"]), (100, 50, 3)))
    _, green = where(sheet, np.broadcast_to(np.uint8(colours["b.png"]), (100, 50, 3)))
    assert red < green
