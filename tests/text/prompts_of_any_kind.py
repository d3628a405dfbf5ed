"""Prompts for tests of the grammars: words and marks in any order, and hostile ones."""

from __future__ import annotations

from hypothesis import strategies as st

MARKS = ["(", ")", "[", "]", "{", "}", "|", ":", "\\", "$$", "::", "__", "_", " ", "\n", ",", "."]
WORDS = ["a", "cat", "BREAK", "AND", "BRE", "AK", "1.3", "0.5", "3", "-2", "1e3", "9" * 400, "é猫"]

texts = st.one_of(
    st.lists(st.sampled_from([*MARKS, *MARKS, *WORDS]), max_size=40).map("".join), st.text()
)

HOSTILE = {
    "nested": "(" * 10_000 + "a" + ")" * 10_000,
    "weighted": "(" * 10_000 + "a" + ":1.9)" * 10_000,
    "changing": "[a:" * 10_000 + ":0.5]" * 10_000,
    "taking turns": "[a|" * 10_000 + "]" * 10_000,
    "braces": "{a|" * 10_000 + "}" * 10_000,
    "counted": "{9$$" + "a|" * 10_000 + "}",
    "unclosed": "([{" * 10_000,
    "closing": ")]}" * 10_000,
    "crossed": "([)]" * 10_000,
    "colons": ": " * 20_000,
    "spaces": "(a" + ":" + " " * 50_000,
    "backslashes": "\\" * 30_001,
    "lines": "_" * 30_000,
    "breaks": "BREAK AND " * 5_000,
    "digits": "(a:" + "1" * 30_000,
}
