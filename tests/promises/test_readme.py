"""The README promises what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sfumato.presets import PRESETS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_table_of_models_is_the_table_of_presets():
    rows = re.findall(r"^\| `(\S+)` \| .* \| (\d+) pixels \| (.*) \|$", README, re.MULTILINE)
    assert rows == [(p.name, str(p.size), p.license) for p in PRESETS.values()]


@pytest.mark.parametrize(
    "line", ['pip install . && sfumato generate "a red apple"', 'pip install ".[test]" && pytest']
)
def test_ci_runs_the_two_command_lines(line: str):
    assert f"\n{line}\n" in README
    assert f"stage '{line}'" in (ROOT / ".ci" / "run").read_text("utf-8")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
def test_links_between_pages_lead_somewhere(page):
    text = (ROOT / page).read_text("utf-8")
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)[^)]*\)", text)
    missing = [link for link in links if not ((ROOT / page).parent / link).exists()]
    assert missing == []


def test_commands_and_options_exist():
    from sfumato.cli.arguments import COMMANDS

    lines = re.findall(r"^sfumato (\w+) (.*?)(?:\s+#.*)?$", README, re.MULTILINE)
    assert len(lines) >= 5
    for command, arguments in lines:
        known = {name for a in COMMANDS[command].parser()._actions for name in a.option_strings}
        assert set(re.findall(r"(?<=\s)--?[\w-]+", f" {arguments}")) <= known
