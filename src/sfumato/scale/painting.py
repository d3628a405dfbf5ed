"""The painting of rows: each picture has a file whose name follows from its row and its request.

These files are all that is remembered. A picture that is there is not painted again, whoever
painted it and whatever became of that process.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato._files import read_json, replacing
from sfumato.picture import Picture
from sfumato.request import Request
from sfumato.request.batches import key_of, parts_of
from sfumato.scale.tables import Row, file_safe

if TYPE_CHECKING:
    from sfumato.opening import Opened

FOLDER = "pictures"
TRYING = "trying"
DEATHS = 3
"""Processes that a picture may take with it before it is given up."""
MOST = 2000
"""Characters of a reason."""


@dataclass(frozen=True)
class Made:
    """A picture that is there, as the manifest has it."""

    row: int
    id: str
    place: int
    path: str
    """Below the folder of the results."""
    prompt: str
    negative_prompt: str | None
    seed: int
    width: int
    height: int
    model: str
    recipe: str
    flags: Sequence[str] = ()
    """What a user should know of it."""
    is_new: bool = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Bad:
    """A picture, or all of a row, that cannot be, and why."""

    row: int
    id: str | None
    reason: str
    values: Any
    place: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Unit:
    """One picture of a row."""

    row: Row
    place: int
    request: Request
    """Completed; its words are drawn when it is painted."""
    made: Made
    """What will be there."""

    @classmethod
    def of(cls, row: Row, place: int, request: Request) -> Unit:
        from sfumato.pictures.recipe import VERSION, Recipe, write_text

        (drawn,) = request.singles()
        recipe = drawn.recipe()
        items = {key: text for key, text in recipe.items.items() if key != VERSION}
        content = write_text(Recipe(recipe.prompt, recipe.negative_prompt, items))
        digest = hashlib.sha256(repr((row.id, place, content)).encode("utf-8", "surrogatepass"))
        name = digest.hexdigest()[:20]
        made = Made(
            *(row.number, row.id, place),
            f"{FOLDER}/{name[:2]}/{file_safe(row.id)}-{name}.png",
            *(drawn.prompt, drawn.negative_prompt, drawn.seed or 0),
            *(drawn.width or 0, drawn.height or 0, recipe.items.get("Model", "")),
            write_text(recipe),
        )
        return cls(row, place, request, made)

    def bad(self, reason: str) -> Bad:
        return Bad(self.row.number, self.row.id, reason, self.row.values, self.place)


class Trying:
    """What is being painted, each batch in a file that stays if its process dies.

    Args:
        folder: of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def noted(self, names: Sequence[str]) -> Iterator[None]:
        """Note a batch for as long as it is being painted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / secrets.token_hex(8)
        note.write_text("\n".join(names))
        try:
            yield
        finally:
            note.unlink(missing_ok=True)

    def deaths(self) -> Counter[str]:
        """How many processes died while they painted a picture, or are painting it now."""
        found: Counter[str] = Counter()
        for note in self.folder.glob("*"):
            with suppress(OSError):  # it ended meanwhile
                found.update(note.read_text().split("\n"))
        return found

    def forget(self) -> None:
        """Forget all deaths: the next run tries again."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Painter:
    """Paints rows into a folder.

    Args:
        out: the folder.
        given: the fields that rows leave open.
        batch: pictures that may be painted together.
        opened: the models.
        check: is called at every step, and may raise.
    """

    def __init__(
        self,
        out: Path,
        given: Mapping[str, Any],
        batch: int,
        opened: Opened,
        check: Callable[[], Any] = lambda: None,
    ) -> None:
        self.out, self.given, self.batch = out, given, batch
        self.opened, self.check = opened, check
        self.trying = Trying(out / TRYING)

    def paint(self, rows: Sequence[Row]) -> Iterator[Made | Bad]:
        """What became of each picture of these rows, as soon as it is known.

        Raises:
            OSError: nothing can be written.
        """
        groups: dict[Any, list[Unit]] = {}
        deaths = self.trying.deaths()
        for row in rows:
            try:
                units = self.planned(row)
            except Exception as error:  # noqa: BLE001  whatever is wrong with a row or its model
                yield Bad(row.number, row.id, reason_of(error), row.values)
                continue
            for unit in units:
                if (self.out / unit.made.path).is_file():
                    flags = read_json(self.flags_file(unit)).get("flags", ())
                    yield replace(unit.made, flags=flags, is_new=False)
                elif deaths[unit.made.path] >= DEATHS:
                    yield unit.bad(f"its process died {DEATHS} times")
                else:  # alone, if it may be what killed a process
                    key = unit.made.path if deaths[unit.made.path] else key_of(unit.request)
                    groups.setdefault(key, []).append(unit)
        for group in groups.values():
            for part in parts_of(group, self.batch):
                yield from self.attempt(part)

    def planned(self, row: Row) -> list[Unit]:
        """The pictures of a row."""
        request = row.request(self.given)
        completed = request.completed(self.opened.plain(request).model)
        return [Unit.of(row, i, single) for i, single in enumerate(completed.batches(1))]

    def attempt(self, units: Sequence[Unit]) -> Iterator[Made | Bad]:
        """Paint pictures together, or in halves if that fails, down to the one that cannot be."""
        done = 0
        try:
            with self.trying.noted([unit.made.path for unit in units]):
                for picture in self.pictures([unit.request for unit in units]):
                    made = self.kept(units[done], picture)
                    done += 1
                    yield made
            return
        except OSError:  # a full disk is no row's fault
            raise
        except Exception as error:  # noqa: BLE001  whatever a backend raises
            reason = reason_of(error)
        if len(units) == 1:
            yield units[0].bad(reason)
            return
        left = units[done:]
        half = (len(left) + 1) // 2
        for part in (left[:half], left[half:]):
            if part:
                yield from self.attempt(part)

    def kept(self, unit: Unit, picture: Picture) -> Made:
        """Write a picture; before it its flags, so that they are there where it is."""
        if picture.flags:
            path = self.flags_file(unit)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(json.dumps({"flags": picture.flags}).encode())
        picture.save(self.out / unit.made.path)
        return replace(unit.made, flags=picture.flags)

    def flags_file(self, unit: Unit) -> Path:
        """The file of a picture's flags, if it has any."""
        return (self.out / unit.made.path).with_suffix(".json")

    def pictures(self, requests: Sequence[Request]) -> Iterator[Picture]:
        """The pictures of completed requests, made together."""
        for event in self.opened.ready(requests[0]).stream(requests):
            self.check()
            if isinstance(event, Picture):
                yield event


def reason_of(error: Exception) -> str:
    """The words of an error in one line."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= MOST else f"{said[:MOST]} ..."
