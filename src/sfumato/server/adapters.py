"""The LoRAs, ControlNets and learned words that clients may use: those of the server's folders.

Clients name LoRAs in a field of their own. Tags in prompts stay words: whoever passes on the words
of others shall not pass on a choice of files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.request import Request, RequestError, controlled
from sfumato.request.adapter_kinds import plain_name
from sfumato.request.loras import files_in

if TYPE_CHECKING:
    from sfumato.adapters.embedding import Embedding
    from sfumato.server.settings import Settings


class Adapters:
    """The files of a server's folders.

    Args:
        settings: name the folders.

    Raises:
        ValueError: the folder of embeddings holds none.
    """

    def __init__(self, settings: Settings) -> None:
        self.folder, self.control_folder = settings.loras, settings.controls
        given: Any = settings.embeddings or {}
        self.words: Mapping[str, Embedding] = Request(prompt="", embeddings=given).embeddings

    @property
    def loras(self) -> list[str]:
        """The names of LoRAs that clients may say."""
        return sorted({plain_name(file) for file in self._files().values()})

    @property
    def controls(self) -> list[str]:
        """The names of ControlNets and IP-Adapters that clients may say."""
        return sorted({plain_name(file) for file in self._controls().values()})

    @property
    def image_prompts(self) -> list[str]:
        """The names that pictures as prompts may say: of files, which IP-Adapters are."""
        return sorted({plain_name(file) for file in self._image_prompts().values()})

    def given(self, request: Request) -> Request:
        """The request with the files that it names, and the server's learned words.

        Raises:
            RequestError: there is no such LoRA, ControlNet or IP-Adapter.
        """
        changes: dict[str, Any] = {}
        if words := {**self.words, **request.embeddings}:
            changes["embeddings"] = words
        if request.loras:
            files = self._files()
            changes["loras"] = tuple(
                (found("loras", name, files), weight) for name, weight in request.loras
            )
        if request.controls:
            changes["controls"] = named("controls", request.controls, self._controls())
        if request.image_prompts:
            prompts = named("image_prompts", request.image_prompts, self._image_prompts())
            changes["image_prompts"] = prompts
        return request.changed(**changes) if changes else request

    def _files(self) -> dict[str, str]:
        return files_in(str(self.folder)) if self.folder and Path(self.folder).is_dir() else {}

    def _controls(self) -> dict[str, str]:
        folder = self.control_folder
        return controlled.files_in(str(folder)) if folder and Path(folder).is_dir() else {}

    def _image_prompts(self) -> dict[str, str]:
        return {name: file for name, file in self._controls().items() if Path(file).is_file()}


def named(field: str, shown: Sequence[Any], files: Mapping[str, str]) -> tuple[Any, ...]:
    """ControlNets or IP-Adapters with their files in place of names."""
    return tuple(replace(each, file=found(field, each.file, files)) for each in shown)


def found(field: str, name: str, files: Mapping[str, str]) -> str:
    """The file of a name; RequestError if there is none."""
    if name not in files:
        must = "be names that this server lists" if files else "be left out on this server"
        raise RequestError(field, must, name[:100])
    return files[name]
