"""Tables of requests in this process: each row once, whatever is wrong with others."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_rows import FakeModel, batch_of, painted, pixels_of, write_lines
from pyarrow import parquet, table

from sfumato.cli import main
from sfumato.pictures import load, load_recipe
from sfumato.request import Request
from sfumato.scale.batch import Batch, here, run
from sfumato.scale.painting import Bad, Made

HERE = Path(__file__).parent

FRUIT = [
    {"id": "one", "prompt": "a red apple", "steps": 3, "seed": 7},
    {"id": "two", "prompt": "a pear, {green|yellow}", "steps": 3, "negative_prompt": "blue"},
    {
        "id": "three",
        "prompt": "20",
        "width": 24,
        "sampler": "ddim",
        "sampler_options": {"eta": 0.5},
    },
    {"id": "four", "prompt": "a plum", "steps": 3, "count": 2},
]


def paint(batch: Batch) -> list[Made | Bad]:
    return [*run(batch, lambda parts: here(batch.painter(), parts))]


def new_of(outcomes: list[Made | Bad]) -> list[Made]:
    return [each for each in outcomes if isinstance(each, Made) and each.is_new]


def manifest(folder: Path) -> list[dict[str, Any]]:
    return parquet.read_table(folder / "out" / "manifest.parquet").to_pylist()


def bad_rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / "bad.jsonl").read_text().splitlines()]


def files(folder: Path) -> set[str]:
    found = (folder / "out").rglob("*.png")
    return {str(path.relative_to(folder / "out")) for path in found}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows as a table of the path's kind; what a row does not have is a gap."""
    names = [*dict.fromkeys(name for row in rows for name in row)]
    if path.suffix == ".jsonl":
        write_lines(path, rows)
    elif path.suffix == ".parquet":
        parquet.write_table(table({n: [row.get(n) for row in rows] for n in names}), path)
    else:
        texts = [{**row} for row in rows]
        for row in texts:
            if "sampler_options" in row:
                row["sampler_options"] = "eta=0.5"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(texts)
    return path


def test_the_manifest_has_each_picture_of_each_row_once(tmp_path: Path):
    made = paint(batch_of(tmp_path, write_lines(tmp_path / "t.jsonl", FRUIT)))
    entries = manifest(tmp_path)
    assert [(e["row"], e["id"], e["place"]) for e in entries] == [
        *((1, "one", 0), (2, "two", 0), (3, "three", 0), (4, "four", 0), (4, "four", 1))
    ]
    assert len(made) == 5
    assert {entry["path"] for entry in entries} == files(tmp_path)
    assert not (tmp_path / "out" / "bad.jsonl").exists()
    for entry in entries:
        path = tmp_path / "out" / entry["path"]
        request = Request(**{k: entry[k] for k in ("prompt", "seed", "width", "height")})
        assert np.array_equal(load(path), pixels_of(request))
        recipe = load_recipe(path)
        assert recipe is not None
        assert (recipe.prompt, recipe.items["Seed"]) == (entry["prompt"], str(entry["seed"]))
    assert entries[0]["seed"] == 7
    assert entries[1]["prompt"] in ("a pear, green", "a pear, yellow")
    assert entries[4]["seed"] == entries[3]["seed"] + 1


def test_a_table_is_the_same_in_every_form(tmp_path: Path):
    found = []
    for ending in ("jsonl", "csv", "parquet"):
        folder = tmp_path / ending
        folder.mkdir()
        paint(batch_of(folder, write(folder / f"t.{ending}", FRUIT)))
        found.append((manifest(folder), files(folder)))
    assert found[0] == found[1] == found[2]
    assert len(found[0][1]) == 5


def test_rows_of_one_shape_are_painted_together(tmp_path: Path):
    sizes = (16, 24, 16, 24, 16, 24)
    rows = [{"prompt": f"{i}", "width": w, "height": 16} for i, w in enumerate(sizes)]
    paint(batch_of(tmp_path, write_lines(tmp_path / "t.jsonl", rows), size=2))
    found = painted(tmp_path)
    assert sorted(found) == [["0", "2"], ["1", "3"], ["4"], ["5"]]


BAD = [
    '{"prompt": "fine"}',
    "{no JSON",
    '["a list"]',
    '{"prompt": "x", "stepps": 3}',
    '{"prompt": "x", "steps": 0}',
    '{"steps": 3}',
    '{"prompt": "x", "width": 17}',
    '{"prompt": "x", "image": "/etc/passwd"}',
    '{"id": "1", "prompt": "an id that the first row has"}',
    '{"prompt": "it will fail", "count": 2}',
    '{"prompt": "fine, too", "seed": null}',
    '{"prompt": "half a character \\ud800"}',
]


def test_bad_rows_are_listed_with_their_reason_and_keep_nobody_waiting(tmp_path: Path):
    source = tmp_path / "t.jsonl"
    source.write_text("\n".join(BAD))
    paint(batch_of(tmp_path, source, size=8))
    assert [entry["row"] for entry in manifest(tmp_path)] == [1, 11, 12]
    bad = bad_rows(tmp_path)
    assert [(entry["row"], entry["place"]) for entry in bad] == [
        *((2, None), (3, None), (4, None), (5, None), (6, None), (7, None), (8, None), (9, None)),
        *((10, 0), (10, 1)),
    ]
    words = ["JSON object", "JSON object", "stepps", "steps", "prompt", "width", "image", "id"]
    for entry, word in zip(bad, words, strict=False):
        assert word in entry["reason"]
    assert bad[-1]["reason"] == "a number overflowed"
    assert bad[2]["values"] == {"prompt": "x", "stepps": 3}


def test_another_run_paints_what_is_not_there(tmp_path: Path):
    source = write_lines(tmp_path / "t.jsonl", FRUIT)
    paint(batch_of(tmp_path, source))
    before, count = manifest(tmp_path), len(painted(tmp_path))
    again = paint(batch_of(tmp_path, source))
    assert (len(again), new_of(again)) == (5, [])
    assert (manifest(tmp_path), len(painted(tmp_path))) == (before, count)

    (tmp_path / "out" / before[0]["path"]).unlink()
    write_lines(source, [*FRUIT[:3], {**FRUIT[3], "prompt": "two plums"}, {"prompt": "new"}])
    new = new_of(paint(batch_of(tmp_path, source)))
    assert sorted((each.id, each.place) for each in new) == [
        *(("5", 0), ("four", 0), ("four", 1), ("one", 0))
    ]
    assert manifest(tmp_path)[0] == before[0]


def test_flags_are_kept(tmp_path: Path):
    rows = [{"prompt": "blue"}, {"prompt": "red"}]
    for _ in range(2):
        paint(batch_of(tmp_path, write_lines(tmp_path / "t.jsonl", rows)))
        assert [entry["flags"] for entry in manifest(tmp_path)] == [["it is blue"], []]


def test_a_run_that_was_stopped_goes_on(tmp_path: Path):
    source = write_lines(tmp_path / "t.jsonl", [{"prompt": f"{i}"} for i in range(12)])
    batch = batch_of(tmp_path, source)
    outcomes = run(batch, lambda parts: here(batch.painter(), parts))
    done = [next(outcomes) for _ in range(5)]
    outcomes.close()  # as an exception would end it
    folder = tmp_path / "out" / "pictures" / "ab"
    folder.mkdir(exist_ok=True)
    (folder / ".0123456789abcdef.part").write_bytes(b"half")  # as kill -9 leaves it
    assert not (tmp_path / "out" / "manifest.parquet").exists()
    again = paint(batch_of(tmp_path, source))
    assert len(new_of(again)) == 12 - len(done)
    assert [entry["row"] for entry in manifest(tmp_path)] == [*range(1, 13)]
    assert not [*(tmp_path / "out").rglob("*.part")]


DYING = """
import sys
from pathlib import Path
from fake_rows import batch_of
from sfumato.scale.batch import here, run

batch = batch_of(Path(sys.argv[1]), Path(sys.argv[1]) / "t.jsonl")
for outcome in run(batch, lambda parts: here(batch.painter(), parts)):
    pass
"""


def test_a_picture_that_kills_its_process_is_given_up(tmp_path: Path):
    rows = [{"prompt": "it will die"}, *[{"prompt": f"{i}"} for i in range(5)]]
    write_lines(tmp_path / "t.jsonl", rows)
    paths = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", DYING, str(tmp_path)]
    codes = [subprocess.run(command, env=environment, check=False).returncode for _ in range(4)]
    assert codes == [9, 9, 9, 0]
    assert [entry["row"] for entry in manifest(tmp_path)] == [2, 3, 4, 5, 6]
    (bad,) = bad_rows(tmp_path)
    assert (bad["row"], bad["reason"]) == (1, "its process died 3 times")
    assert [len(batch) for batch in painted(tmp_path) if "it will die" in batch] == [4, 1, 1]
    assert not [*(tmp_path / "out" / "trying").glob("*")]


def test_a_full_disk_stops_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*arguments: Any, **named: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sfumato.picture.files.save", full)
    with pytest.raises(OSError, match="No space"):
        paint(batch_of(tmp_path, write_lines(tmp_path / "t.jsonl", FRUIT)))


@pytest.fixture
def sfumato(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The command line with a fake model."""
    (tmp_path / "notes").mkdir()
    fake = FakeModel(tmp_path / "notes")
    monkeypatch.setattr("sfumato.scale.batch.open_model", lambda *names: fake)
    monkeypatch.chdir(tmp_path)
    return lambda *words: main([*words])


def test_the_command(sfumato: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write(tmp_path / "t.csv", FRUIT)
    assert sfumato("batch", "t.csv", "-o", "out", "--guidance", "3", "-q") == 0
    lines = capsys.readouterr().out.split()
    assert len(lines) == 5
    assert all((tmp_path / line).is_file() for line in lines)
    recipe = load_recipe(tmp_path / lines[0])
    assert recipe is not None
    assert recipe.items["CFG scale"] == "3"
    assert sfumato("batch", "t.csv", "-o", "out", "--guidance", "3") == 0
    there = capsys.readouterr()
    assert (there.out, "5 of the pictures were there" in there.err) == ("", True)

    write_lines(tmp_path / "bad.jsonl", [{"prompt": "fail"}, {"prompt": "fine"}])
    assert sfumato("batch", "bad.jsonl", "-o", "other", "--json") == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["prompt"] == "fine"
    assert "1 could not be painted" in said.err


def test_the_command_says_what_cannot_be(sfumato: Any, capsys: pytest.CaptureFixture[str]):
    for words, message in {
        ("t.xml", "-o", "out"): "must end in .parquet, .jsonl, .csv",
        ("t.csv", "-o", "out"): "No such file",
        ("t.csv",): "-o",
        ("t.csv", "-o", "out", "--steps", "0"): "--steps must",
    }.items():
        assert sfumato("batch", *words) in (1, 2)
        assert message in capsys.readouterr().err


def test_without_the_extra(sfumato: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    write_lines(tmp_path / "t.jsonl", FRUIT)
    assert sfumato("batch", "t.jsonl", "-o", "out", "-q") == 0
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in lines] == [1, 2, 3, 4, 4]
    assert sfumato("batch", "t.jsonl", "-o", "out", "--ray", "local") == 2
    assert "pip install 'sfumato[ray]'" in capsys.readouterr().err
    (tmp_path / "t.parquet").write_bytes(b"")
    assert sfumato("batch", "t.parquet", "-o", "out") != 0
    assert "pip install 'sfumato[ray]'" in capsys.readouterr().err
