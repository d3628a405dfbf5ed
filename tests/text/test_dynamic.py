"""Prompts that are drawn by a seed."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompts_of_any_kind import HOSTILE, texts

from sfumato.text.dynamic import draw
from sfumato.text.wildcards import read_wildcards


def drawn(template: str, count: int = 400, **options: object) -> Counter[str]:
    return Counter(draw(template, seed, **options) for seed in range(count))  # type: ignore[arg-type]


def test_one_of_several() -> None:
    found = drawn("a {red|green|} apple")
    assert {*found} == {"a red apple", "a green apple", "a  apple"}
    # 400 draws of probability 1/3: their number has a standard deviation of 9.4.
    assert all(abs(count - 400 / 3) < 50 for count in found.values())


def test_shares() -> None:
    found = drawn("{3::a|b|0::c}")
    assert {*found} == {"a", "b"}
    assert abs(found["a"] - 300) < 45  # a standard deviation of 8.7


def test_several_of_several() -> None:
    found = drawn("{2$$a|b|c}")
    assert {*found} == {"a, b", "b, a", "a, c", "c, a", "b, c", "c, b"}
    assert {*drawn("{1-2$$ and $$a|b}")} == {"a", "b", "a and b", "b and a"}
    assert {*drawn("{9$$a|b}")} == {"a, b", "b, a"}
    assert {*drawn("{0$$a|b}")} == {""}


def test_nested() -> None:
    assert {*drawn("{a {x|y}|{b}} c")} == {"a x c", "a y c", "b c"}


def test_a_seed_draws_the_same_for_ever() -> None:
    # Whatever the version of Python: recipes hold templates
    found = [draw("{a|b|c|d|e|f|g|h} {2$$x|y|z}", seed) for seed in range(4)]
    assert found == ["e x, z", "f z, x", "d y, x", "c z, y"]


def test_what_is_not_dynamic_stays() -> None:
    for text in ("a red apple", "a | b", "{a|b", "a} __b__", r"\{a|b\}", "__init__"):
        assert draw(text, 1) == text


def test_wildcards(tmp_path: Path) -> None:
    (tmp_path / "colours").mkdir()
    (tmp_path / "colours/warm.txt").write_text("\ufeff# warm ones\nred\n\n {orange|amber} \n")
    (tmp_path / "things.txt").write_text("a __colours/warm__ apple\n")
    lists = read_wildcards(tmp_path)
    assert lists == {
        "colours/warm": ("red", "{orange|amber}"),
        "things": ("a __colours/warm__ apple",),
    }
    found = drawn("__things__!", wildcards=lists)
    assert {*found} == {"a red apple!", "a orange apple!", "a amber apple!"}
    with pytest.raises(ValueError, match="have a list called animals"):
        draw("__animals__", 1, lists)
    with pytest.raises(OSError, match="no such folder"):
        read_wildcards(tmp_path / "nowhere")


@pytest.mark.parametrize("line", ["__a__", "__a__ __a__", "x" * 1000 + "__a__" * 1000])
def test_wildcards_without_an_end(line: str) -> None:
    start = time.process_time()
    with pytest.raises(ValueError, match="without an end"):
        draw("__a__", 1, {"a": (line,)})
    assert time.process_time() - start < 30


@given(texts, st.integers())
def test_what_is_drawn_is_not_drawn_again(text: str, seed: int) -> None:
    once = draw(text, seed)
    assert draw(once, seed + 1) == once
    assert draw(text, seed) == once
    if not re.search(r"\{.*\}", text, re.DOTALL):
        assert once == text


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_in_linear_time(kind: str) -> None:
    start = time.process_time()
    draw(HOSTILE[kind], 1)
    assert time.process_time() - start < 5
