"""What is kept: pages of jobs, pictures with their recipe, and nothing torn by a kill."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fake_painters import Studio

from sfumato.pictures import load, load_recipe
from sfumato.request import Request
from sfumato.server.history import History

HERE = Path(__file__).parent


def paint(studio: Studio, **fields: Any) -> str:
    job = studio.service.submit(Request(**{"prompt": "a red apple", "steps": 1} | fields))
    assert job.wait(10)
    return job.id


def test_pages_go_from_the_newest_to_the_oldest(studio: Studio):
    jobs = [paint(studio, seed=i) for i in range(5)]
    found: list[str] = []
    before = None
    for size in (2, 2, 1):
        page, before = studio.history.page(2, before)
        assert len(page) == size
        found += [job["id"] for job in page]
    assert before is None
    assert found == jobs[::-1]
    paint(studio)  # a new one does not move what was read
    assert [job["id"] for job in studio.history.page(2, None)[0]][1] == jobs[-1]


def test_it_is_there_after_a_restart(open_studio: Callable[..., Studio], tmp_path: Path):
    studio = open_studio()
    studio.service.start()
    name = paint(studio, prompt="\ud800 <b>ünï", seed=3)
    before = studio.service.facts(name)
    studio.service.stop()
    history = History(studio.settings.folder)
    assert history.find(name) == before
    assert before is not None
    assert before["request"]["prompt"] == "\ud800 <b>ünï"
    assert history.picture(before["pictures"][0]["id"]) is not None
    again = Request.from_json(before["request"] | {"model": None})
    assert again.seed == 3
    history.close()


def test_the_oldest_are_forgotten_with_their_pictures(open_studio: Callable[..., Studio]):
    studio = open_studio(history=16)
    studio.service.start()
    jobs = [paint(studio, seed=i) for i in range(18)]
    assert [job["id"] for job in studio.history.page(99)[0]] == jobs[:1:-1]
    assert studio.history.picture(f"{jobs[1]}-0") is None
    assert studio.history.picture(f"{jobs[2]}-0") is not None


def test_a_folder_is_for_one_server(studio: Studio):
    code = f"""
from pathlib import Path
from sfumato.server.history import History
try:
    History(Path({str(studio.settings.folder)!r}))
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "`folder` must not be in use by another server" in done.stdout


def test_names_are_no_paths(studio: Studio):
    name = paint(studio)
    secret = studio.settings.folder / "pictures" / "secret.png"
    secret.write_bytes(b"")
    link = studio.settings.folder / "pictures" / f"{name}-7.png"
    link.symlink_to(secret)
    for bad in ("secret", "../jobs", f"{name}-0.png", f"{name}-0/../secret", f"{name}-7", "", "\0"):
        assert studio.history.picture(bad) is None
        assert studio.history.upload(bad) is None
        assert studio.history.find(bad) is None


def test_pictures_carry_no_recipe_where_it_is_switched_off(tmp_path: Path, studio: Studio):
    studio.history.recipes = False
    path = studio.history.picture(f"{paint(studio)}-0")
    assert path is not None
    assert load_recipe(path) is None


def test_pictures_that_clients_send_are_kept_once(studio: Studio):
    pixels = np.arange(48, dtype="uint8").reshape(4, 4, 3)
    names = {studio.history.add_upload(each) for each in (pixels, pixels.copy(), pixels[::-1])}
    assert len(names) == 2
    path = studio.history.upload(studio.history.add_upload(pixels))
    assert path is not None
    assert np.array_equal(load(path), pixels)
