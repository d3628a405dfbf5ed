"""The README promises what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sfumato.cli.arguments import COMMANDS
from sfumato.diffusion import SAMPLERS, SCHEDULES
from sfumato.presets import PRESETS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def rows_of(text: str) -> list[tuple[str, ...]]:
    """The rows of a table of presets."""
    return re.findall(r"^\| `(\S+)` \| .* \| (\d+) pixels \| (.*) \|$", text, re.MULTILINE)


def test_the_table_of_models_is_the_table_of_presets():
    presets = [(p.name, str(p.size), p.license) for p in PRESETS.values()]
    assert rows_of((ROOT / "docs" / "models.md").read_text("utf-8")) == presets
    assert set(rows_of(README)) < set(presets)  # some
    assert len(rows_of(README)) > 5


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


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
def test_links_to_headings_lead_somewhere(page):
    page = ROOT / page
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text("utf-8"))
    targets = [(page.parent / link if link else page, anchor) for link, anchor in links]
    assert [t for t in targets if t[1] not in anchors(t[0].read_text("utf-8"))] == []


def options_of(command: str) -> list[list[str]]:
    """The options of a command, each with its names."""
    actions = COMMANDS[command].parser()._actions
    return [list(action.option_strings) for action in actions if action.option_strings]


@pytest.mark.parametrize(
    ("page", "least"), [("README.md", 5), *((path, 0) for path in (ROOT / "docs").glob("*.md"))]
)
def test_commands_and_options_exist(page, least: int):
    text = (ROOT / page).read_text("utf-8")
    variables = r"(?:[A-Z_]+=\S+ )*"
    line = rf"^(?: {{4}})?{variables}sfumato (\w+) (.*?)(?:\s+#.*)?$"
    lines = re.findall(line, text, re.MULTILINE)
    assert len(lines) >= least
    for command, arguments in lines:
        known = {name for names in options_of(command) for name in names}
        assert set(re.findall(r"(?<=\s)--?[a-z][\w-]*", f" {arguments}")) <= known


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_of_the_command_line_names_every_option(command: str):
    page = (ROOT / "docs" / "command-line.md").read_text("utf-8")
    for names in options_of(command):
        assert any(re.search(rf"(?<![\w-]){name}(?![\w-])", page) for name in names), names


def words(page: str) -> str:
    """The text of a page, whatever its line breaks."""
    return " ".join((ROOT / page).read_text("utf-8").split())


def test_samplers_and_schedules_are_counted():
    count = f"{len(SAMPLERS)} samplers on {len(SCHEDULES)} schedules"
    classes = [a for row in SAMPLERS.values() for a in row.aliases if a.endswith("Scheduler")]
    assert count in words("CHANGELOG.md")
    assert f"{len(classes)} schedulers of diffusers" in words("CHANGELOG.md")
    assert count in words("docs/migrating.md").replace("[samplers](samplers.md)", "samplers")
    assert f"class names {len(classes)} are known" in words("docs/samplers.md")
