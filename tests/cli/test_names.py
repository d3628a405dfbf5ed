"""Names of new pictures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.cli.names import claim, claim_file, is_folder, slug


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a red apple", "a-red-apple"),
        ("  A  RED/apple!! ", "a-red-apple"),
        ("../../etc/passwd", "etc-passwd"),
        ("Un café à Paris", "un-café-à-paris"),
        ("赤いりんご", "赤いりんご"),
        ("हिन्दी सेब", "हिन्दी-सेब"),
        ("แอปเปิ้ล", "แอปเปิ้ล"),
        ("❤\ufe0f apple", "apple"),
        ("", "picture"),
        ("🍎", "picture"),
        ("snake_case\nand\ttabs", "snake-case-and-tabs"),
    ],
)
def test_slug(prompt: str, name: str):
    assert slug(prompt) == name


def test_a_long_slug_ends_with_a_whole_word():
    name = slug("wonderful " * 50)
    assert set(name.split("-")) == {"wonderful"}
    assert 80 <= len(name) <= 96


@given(st.text())
def test_a_slug_is_always_one_short_component_of_a_path(prompt: str):
    name = slug(prompt)
    assert 1 <= len(os.fsencode(name)) <= 96
    assert Path(name).name == name
    assert name not in (".", "..")
    assert name.isprintable()


def touch_all(out: Path, count: int) -> list[str]:
    names = []
    for _ in range(count):
        with claim(out, 7, "a red apple") as path:
            names.append(str(path.relative_to(out if is_folder(out) else out.parent)))
    return names


def test_numbers_go_on_where_the_folder_stops(tmp_path: Path):
    (tmp_path / "00041-9-pear.png").touch()
    (tmp_path / "notes.txt").touch()
    assert touch_all(tmp_path, 2) == ["00042-7-a-red-apple.png", "00043-7-a-red-apple.png"]


def test_numbers_go_beyond_five_digits(tmp_path: Path):
    (tmp_path / "99999-1-x.png").touch()
    assert touch_all(tmp_path, 2) == ["100000-7-a-red-apple.png", "100001-7-a-red-apple.png"]


def test_a_new_folder_is_made(tmp_path: Path):
    assert touch_all(tmp_path / "new" / "folder", 1) == ["00001-7-a-red-apple.png"]


def test_a_named_file_is_never_overwritten(tmp_path: Path):
    assert touch_all(tmp_path / "apple.jpg", 3) == ["apple.jpg", "apple-2.jpg", "apple-3.jpg"]


def test_an_animation_is_never_overwritten(tmp_path: Path):
    (tmp_path / "apple.gif").touch()
    with claim_file(tmp_path / "apple.gif") as first, claim_file(tmp_path / "apple.gif") as second:
        assert (first.name, second.name) == ("apple-2.gif", "apple-3.gif")


def test_a_folder_may_look_like_a_file(tmp_path: Path):
    (tmp_path / "v1.png").mkdir()
    assert touch_all(tmp_path / "v1.png", 1) == ["00001-7-a-red-apple.png"]


def test_nothing_is_left_after_an_error(tmp_path: Path):
    def stop_halfway():
        with claim(tmp_path, 7, "x") as path:
            path.write_bytes(b"half a picture")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_halfway()
    assert list(tmp_path.iterdir()) == []
