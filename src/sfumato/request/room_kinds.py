"""Sorts of values that other rooms know: models, samplers and schedules, words, pictures.

Each room is imported when the first value is checked.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from sfumato.request.kinds import Kind


class ModelName(Kind):
    """A preset, a Hub repository or the path of a folder or file."""

    metavar = "MODEL"

    def write(self, value: str) -> str:
        """The name for a recipe, which strangers read."""
        from sfumato import presets

        return presets.public_name(value)


class Autoencoder(ModelName):
    """An autoencoder: "tiny", a path or a repository."""

    @staticmethod
    def knows(text: str) -> bool:
        """Whether a recipe's name of one means something on this machine."""
        from sfumato._files import expanded

        # Windows logs in to the server of a path such as \\server\folder when it looks there.
        is_server = text[:2] in ("//", "\\\\")
        with suppress(OSError, ValueError):
            return text == "tiny" or (not is_server and expanded(text).exists())
        return False


class Refiner(Autoencoder):
    """A model that goes on where another ends, as ``ModelName`` names it."""

    @staticmethod
    def knows(text: str) -> bool:
        from sfumato import presets

        return presets.find(text) is not None or (text != "tiny" and Autoencoder.knows(text))


class Name(Kind):
    """The name of a row of a table of `diffusion`: "sampler" or "schedule".

    Any name that the row goes by will do. JSON has the canonical one, the recipe A1111's label. A
    row of one's own stands for itself.
    """

    metavar = "NAME"

    def __init__(self, table: str) -> None:
        self.table = table

    @property
    def must(self) -> str:
        return f"be one of {', '.join(self.rows)}"

    @property
    def rows(self) -> dict[str, Any]:
        from sfumato import diffusion

        return diffusion.SAMPLERS if self.table == "sampler" else diffusion.SCHEDULES

    def row(self, value: Any) -> Any:
        from sfumato import diffusion

        find = diffusion.find_sampler if self.table == "sampler" else diffusion.find_schedule
        return find(value)

    def check(self, value: Any) -> Any:
        if not isinstance(value, (str, *map(type, self.rows.values()))):
            raise ValueError
        row = self.row(value)
        return row.name if self.rows.get(row.name) is row else row

    def read(self, text: str) -> str | None:
        return text or None  # "DPM++ 2M Karras" names two things: the request takes it apart

    def knows(self, text: str) -> bool:
        """Whether a text, such as "DPM++ 2M Karras", names a row of the table."""
        try:
            self.row(taken_apart(text)[0] if self.table == "sampler" else text)
        except ValueError:
            return False
        return True

    def write(self, value: Any) -> str:
        return self.row(value).label

    def to_json(self, value: Any) -> str:
        return self.row(value).name

    def from_json(self, value: Any) -> str | None:
        if not isinstance(value, str):
            raise ValueError
        return self.read(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "examples": [*self.rows]}  # aliases will do, too


def taken_apart(label: str) -> tuple[str, str | None]:
    """Take "DPM++ 2M Karras", as A1111 once wrote it, for a sampler and a schedule."""
    from sfumato.diffusion import split_label

    try:
        return split_label(label)
    except ValueError:
        return label, None  # the check of the field says what it must be


class Upscaler(Kind):
    """The name of an upscaler, A1111's or ours, or the file of a network."""

    metavar = "NAME"

    @property
    def must(self) -> str:
        from sfumato.presets import upscalers

        return upscalers.must(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        from sfumato.presets import upscalers

        return (*upscalers.LATENTS, *upscalers.PICTURES)

    def check(self, value: Any) -> str:
        from sfumato.presets import upscalers

        return upscalers.find(value, self.names)

    def knows(self, text: str) -> bool:
        """Whether a text is a name; a stranger's is never that of a file."""
        try:
            return self.check(text) in self.names
        except ValueError:
            return False

    def write(self, value: str) -> str:
        from sfumato.presets import upscalers

        return upscalers.label(value)

    def from_json(self, value: Any) -> str:
        if not self.knows(value):
            raise ValueError
        return self.check(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "examples": [*self.names]}


class Wildcards(Kind):
    """Lists of text by name, or the folder whose files they are; they are read at once."""

    must = "be a folder with .txt files, or lists of text by name"
    metavar = "FOLDER"

    def check(self, value: Any) -> dict[str, tuple[str, ...]]:
        if isinstance(value, (str, Path)):
            value = self._read_folder(Path(value))
        if not hasattr(value, "keys"):
            raise ValueError
        if not all(isinstance(name, str) for name in value):
            raise ValueError
        lists = {name: value[name] for name in sorted(value)}
        if not all(isinstance(lines, (list, tuple)) for lines in lists.values()):
            raise ValueError
        found = {name: tuple(lines) for name, lines in lists.items()}
        if not all(isinstance(text, str) for lines in found.values() for text in lines):
            raise ValueError
        return found

    @staticmethod
    def _read_folder(folder: Path) -> dict[str, tuple[str, ...]]:
        from sfumato.text.wildcards import read_wildcards

        try:
            lists = read_wildcards(folder.expanduser())
        except (OSError, RuntimeError) as error:  # no such folder, no such user
            raise ValueError from error
        if not lists:
            raise ValueError
        return lists

    def to_json(self, value: Any) -> dict[str, list[str]]:
        return {name: [*lines] for name, lines in value.items()}

    def from_json(self, value: Any) -> Any:
        if isinstance(value, str):  # the name of a folder
            raise ValueError
        return self.check(value)

    def schema(self) -> dict[str, Any]:
        lines = {"type": "array", "items": {"type": "string"}}
        return {"type": "object", "additionalProperties": lines}


class Pixels(Kind):
    """A picture, uint8 (H, W, 3), or a mask, uint8 (H, W); a file, an array or one of Pillow's."""

    metavar = "FILE"
    action = "append"

    def __init__(self, mask: bool = False) -> None:
        self.mask = mask

    @property
    def must(self) -> str:
        shape = "(H, W) of 0..1, or of 0..255 as uint8" if self.mask else "(H, W, 3) of 0..255"
        return f"be a picture file, one of Pillow's pictures or an array {shape}"

    def received(self, name: str, value: Any, error: Exception) -> str:
        """The reason; an array's values would fill the screen."""
        return f"{name}: {error}"

    def check(self, value: Any) -> Any:
        from sfumato.pictures import pixels

        return pixels.as_mask(value) if self.mask else pixels.as_image(value)

    @property
    def must_read(self) -> str:
        return "be a PNG, JPEG or WebP file, or a folder with some"

    def read(self, text: str) -> list[Path]:
        """The files that a text names, which are looked at and not yet decoded."""
        from sfumato._files import expanded
        from sfumato.pictures import files

        try:
            return files.named(expanded(text))
        except OSError as error:  # no such file
            raise ValueError from error

    def to_json(self, value: Any) -> str:
        from sfumato.pictures import pixels

        return pixels.to_data_url(value)

    def from_json(self, value: Any) -> Any:
        from sfumato.pictures import pixels

        return self.check(pixels.from_data_url(value, self.mask))

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "data-url"}
