"""What was asked for and painted, on disk: pictures as files, jobs in SQLite.

A picture's file is complete or not there, and a job names it only afterwards. So a process that is
killed at any moment leaves a history that can be read, in which every picture exists.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato._files import replacing
from sfumato.pictures import files
from sfumato.pictures.pixels import digest
from sfumato.pictures.recipe import write_text
from sfumato.server.failures import Failure
from sfumato.server.jobs import FAILED, Job

if TYPE_CHECKING:
    import numpy as np

    from sfumato.picture import Picture

JOB = re.compile(r"[0-9a-f]{24}")
PICTURE = re.compile(rf"{JOB.pattern}-\d{{1,4}}")
UPLOAD = re.compile(r"[0-9a-f]{16}")

TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    facts TEXT NOT NULL
)"""


PAGE = 2**22
"""Characters of a page of jobs, but for its last one."""

Page = tuple[list[dict[str, Any]], int | None]


class History:
    """Jobs and pictures of a folder. Any thread may use it.

    Args:
        folder: made if it is not there; for this process alone.
        most: jobs to remember.
        recipes: whether pictures carry their recipe.

    Raises:
        ValueError: another process has the folder.
    """

    def __init__(self, folder: Path, most: int = 1000, recipes: bool = True) -> None:
        self.folder, self.most, self.recipes = folder, most, recipes
        for name in ("pictures", "uploads"):
            (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            for part in (folder / name).glob(".*.part"):  # of a process that was killed
                part.unlink(missing_ok=True)
        self._lock = threading.Lock()
        self._base = sqlite3.connect(folder / "jobs.sqlite", timeout=1, check_same_thread=False)
        try:
            with self._lock, self._base:
                self._base.execute("PRAGMA locking_mode = EXCLUSIVE")  # until the process ends
                self._base.execute("PRAGMA journal_mode = WAL")
                self._base.execute(TABLE)
        except sqlite3.OperationalError as error:
            message = f"`folder` must not be in use by another server. Received: {folder}"
            raise ValueError(message) from error
        self._end_interrupted()

    def close(self) -> None:
        with self._lock:
            self._base.close()

    # Jobs

    def add(self, job: Job) -> None:
        """Remember a job; the oldest are forgotten."""
        with self._lock, self._base:
            row = (job.id, job.state, _text(job.to_json()))
            self._base.execute("INSERT INTO jobs (id, state, facts) VALUES (?, ?, ?)", row)

    def update(self, facts: dict[str, Any]) -> None:
        """Note how a job stands."""
        with self._lock, self._base:
            row = (facts["state"], _text(facts), facts["id"])
            self._base.execute("UPDATE jobs SET state = ?, facts = ? WHERE id = ?", row)
        self._forget()

    def find(self, job: str) -> dict[str, Any] | None:
        """The facts of a job; None if it is not known."""
        if not JOB.fullmatch(job):
            return None
        with self._lock:
            found = self._base.execute("SELECT facts FROM jobs WHERE id = ?", (job,)).fetchone()
        return None if found is None else json.loads(found[0])

    def page(self, count: int, before: int | None = None) -> Page:
        """The facts of jobs, the newest first, and where the next page begins.

        Args:
            count: at most so many, and fewer where they say much.
            before: what the page before said; None: the first page.
        """
        query = "SELECT number, facts FROM jobs WHERE number < ? ORDER BY number DESC LIMIT ?"
        rows: list[tuple[int, str]] = []
        with self._lock, closing(self._base.execute(query, (before or 2**62, count + 1))) as found:
            for row in found:
                if len(rows) == count or (rows and sum(len(f) for _, f in rows) > PAGE):
                    return [json.loads(facts) for _, facts in rows], rows[-1][0]
                rows.append(row)
        return [json.loads(facts) for _, facts in rows], None

    # Pictures

    def keep(self, job: Job, place: int, picture: Picture) -> dict[str, Any]:
        """Write a picture of a job; returns what is told of it."""
        name = f"{job.id}-{place}"
        recipe = picture.request.recipe()
        files.save(self._path("pictures", name), picture.pixels, recipe if self.recipes else None)
        H, W, _ = picture.pixels.shape
        request = {**picture.request.to_json(), "model": job.model}
        for field in ("image", "mask", "controls", "image_prompts", "embeddings"):
            request.pop(field, None)
            if field in job.asked:
                request[field] = job.asked[field]
        return {
            "id": name,
            "place": place,
            "width": W,
            "height": H,
            "seed": picture.request.seed,
            "flags": [*picture.flags],
            "request": request,
            "recipe": write_text(recipe),
        }

    def picture(self, name: str) -> Path | None:
        """The file of a picture; None if there is none."""
        return self._found("pictures", name) if PICTURE.fullmatch(name) else None

    def add_upload(self, pixels: np.ndarray) -> str:
        """Keep a picture or a mask that a client sent; the same one has the same id."""
        name = digest(pixels)
        path = self._path("uploads", name)
        if path.exists():
            path.touch()
            return name
        with replacing(path) as file:
            _png(pixels).save(file, "PNG")
        kept = sorted(path.parent.glob("*.png"), key=lambda each: each.stat().st_mtime)
        for old in kept[: -(2 * self.most + 64)]:
            old.unlink(missing_ok=True)
        return name

    def upload(self, name: str) -> Path | None:
        """The file of a picture that a client sent; None if there is none."""
        return self._found("uploads", name) if UPLOAD.fullmatch(name) else None

    def delete(self, job: str) -> bool:
        """Forget a job that has ended, and its pictures; whether it was there."""
        with self._lock, self._base:
            gone = self._base.execute("DELETE FROM jobs WHERE id = ?", (job,)).rowcount
        self._delete_pictures(job)
        return bool(gone)

    # Within

    def _path(self, kind: str, name: str) -> Path:
        return self.folder / kind / f"{name}.png"

    def _found(self, kind: str, name: str) -> Path | None:
        path = self._path(kind, name)
        return path if path.is_file() and not path.is_symlink() else None

    def _forget(self) -> None:
        """Forget the oldest jobs beyond `most`, and their pictures."""
        query = (
            "SELECT id FROM jobs WHERE state NOT IN ('queued', 'running') "
            "ORDER BY number DESC LIMIT -1 OFFSET ?"
        )
        with self._lock:
            old = [job for (job,) in self._base.execute(query, (self.most,)).fetchall()]
        for job in old:
            self.delete(job)

    def _delete_pictures(self, job: str) -> None:
        for path in (self.folder / "pictures").glob(f"{job}-*.png"):
            with suppress(OSError):
                path.unlink()

    def _end_interrupted(self) -> None:
        """Fail the jobs that a process left when it was killed; delete pictures of none."""
        with self._lock, self._base:
            query = "SELECT id, facts FROM jobs WHERE state IN ('queued', 'running')"
            for job, text in self._base.execute(query).fetchall():
                error = Failure.named("interrupted").to_json()
                facts = {**json.loads(text), "state": FAILED, "error": error}
                row = (FAILED, _text(facts), job)
                self._base.execute("UPDATE jobs SET state = ?, facts = ? WHERE id = ?", row)
            known = {job for (job,) in self._base.execute("SELECT id FROM jobs").fetchall()}
        for path in (self.folder / "pictures").glob("*.png"):
            if path.stem.partition("-")[0] not in known:
                path.unlink(missing_ok=True)


def _text(facts: dict[str, Any]) -> str:
    return json.dumps(facts)  # ASCII: SQLite takes no lone surrogates


def _png(pixels: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(pixels)
