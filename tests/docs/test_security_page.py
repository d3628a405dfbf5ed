"""Each promise of the page has tests, and each folder of promises is on the page."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")


def test_promises_and_tests_are_the_same() -> None:
    rows = [line for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
    held = [re.findall(r"\(\.\./(tests/[^)]+)\)", row) for row in rows]
    assert all(len(places) == 1 for places in held)
    for (place,) in held:
        path = ROOT / place
        files = [path] if path.is_file() else [*path.glob("test_*.py")]
        assert files, place
        assert all(re.search(r"^def test_", file.read_text(), re.MULTILINE) for file in files)
    folders = {f"tests/promises/{path.parent.name}" for path in ROOT.glob("tests/promises/*/*.py")}
    assert folders <= {place for (place,) in held}
