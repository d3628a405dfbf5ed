"""A file of a picture is whole or not there, and the history can be read, whatever happens."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from fake_painters import Live, Studio
from processes import fake, serving

from sfumato.pictures import load
from sfumato.request import Request
from sfumato.server.history import History


def check(folder: Path) -> list[dict[str, Any]]:
    """The jobs of a folder in which every picture and every file is whole."""
    history = History(folder)
    jobs = history.page(10_000)[0]
    history.close()
    for job in jobs:
        for picture in job["pictures"]:
            path = history.picture(picture["id"])
            assert path is not None
            assert load(path).shape == (256, 256, 3)
    files = [*(folder / "pictures").iterdir()]
    assert all(load(file).shape == (256, 256, 3) for file in files)  # no half one, none hidden
    assert {file.stem.partition("-")[0] for file in files} <= {job["id"] for job in jobs}
    assert {job["state"] for job in jobs} <= {"done", "failed"}
    failed = [job for job in jobs if job["state"] == "failed"]
    assert {job["error"]["code"] for job in failed} <= {"interrupted"}
    return jobs


MOMENTS = {
    "half of the content is written": """
def arm():
    from PIL import Image
    def save(self, file, *rest, **options):
        file.write(b"PNG, half of a file")
        file.flush()
        die()
    Image.Image.save = save
""",
    "the content is not on the disk": """
def arm():
    import sfumato._files
    sfumato._files.os.fsync = lambda number: die()
""",
    "the file has its name, and no job names it": """
def arm():
    replace = Path.replace
    Path.replace = lambda self, target: (replace(self, target), die())
""",
    "the picture is there, and the job has not ended": """
def arm():
    studio.history.update = lambda facts: die()
""",
}
"""When the process dies by its own hand: code that prepares it."""

SECOND = """
import os, signal
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
keep, kept = studio.history.keep, []

def counted(*arguments):
    kept.append(1)
    if len(kept) == 2:
        arm()
    return keep(*arguments)

studio.history.keep = counted
"""
ASK = {"steps": 1, "width": 256, "height": 256}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_while_it_keeps_a_picture(tmp_path: Path, moment: str):
    with serving(fake(tmp_path, change=MOMENTS[moment] + SECOND)) as server:
        url = server.client.post("/v1/jobs", json=ASK | {"prompt": "first"}).json()["url"]
        assert server.end(url)["state"] == "done"
        server.client.post("/v1/jobs", json=ASK | {"prompt": "second"})
        assert server.process.wait(20) == -signal.SIGKILL
    jobs = check(tmp_path)
    assert [(job["request"]["prompt"], job["state"]) for job in jobs] == [
        ("second", "failed"),
        ("first", "done"),
    ]


def test_a_picture_that_cannot_be_kept_fails_its_request(studio: Studio):
    def full(*arguments: Any) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    keep, studio.history.keep = studio.history.keep, full  # type: ignore[method-assign]
    job = studio.service.submit(Request(prompt="x", steps=1, count=2))
    assert job.wait(10)
    assert (job.state, job.failure and job.failure.code) == ("failed", "disk_full")
    studio.history.keep = keep  # type: ignore[method-assign]
    after = studio.service.submit(Request(prompt="x", steps=1))
    assert after.wait(10)
    assert after.state == "done"


def test_a_history_that_cannot_grow_refuses_and_goes_on_later(live: Live):
    base = live.studio.history._base
    (pages,) = base.execute("PRAGMA page_count").fetchone()
    base.execute(f"PRAGMA max_page_count = {pages}")
    body = {"prompt": "x" * 20_000, "steps": 1}
    answer = live.client.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "disk_full")
    assert live.client.get("/v1/jobs").json()["jobs"] == []
    base.execute(f"PRAGMA max_page_count = {pages + 1000}")
    job = live.client.post("/v1/jobs", json=body).json()
    assert live.studio.service.job(job["id"]).wait(10)  # type: ignore[union-attr]
    assert live.client.get(job["url"]).json()["state"] == "done"
