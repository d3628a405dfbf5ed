"""The pages are short, narrow and easy to read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [
    page
    for folder in (".", "docs", "benchmarks", "recipes/mini")
    for page in sorted((ROOT / folder).glob("*.md"))
]
WIDTH = 100


def prose(text: str) -> list[str]:
    """The lines of a page that are no code, table, heading, picture or formula."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    apart = ("|", "#", "!", "<!--", "    ", "$$")
    return ["" if line.startswith(apart) else line for line in text.splitlines()]


def sentences(text: str) -> Iterator[str]:
    """The sentences of a page; a link counts as its words, and code as one."""
    text = re.sub(r"`[^`]*`", "code", "\n".join(prose(text)))
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", text):
        yield from re.split(r"(?<=[.!?])\s+", paragraph.strip())


def test_the_readme_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 130


def test_no_sentence_of_the_readme_is_long() -> None:
    found = list(sentences(README.read_text("utf-8")))
    assert len(found) > 20
    assert [sentence for sentence in found if len(sentence.split()) > 30] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_are_narrow(page: Path) -> None:
    lines = [re.sub(r"\]\([^)]*\)", "]", line) for line in prose(page.read_text("utf-8"))]
    assert [line for line in lines if len(line) > WIDTH] == []


def test_long_lines_and_sentences_are_seen() -> None:
    assert "x" * 101 in prose(f"```\n{'y' * 101}\n```\n\n{'x' * 101}\n")
    one, other, *rest = sentences(f"Is `this one` it? {'word ' * 31}\n\n| {'cell ' * 31}|\n")
    assert (one, len(other.split()), rest) == ("Is code it?", 31, [""])
