"""The LoRAs and learned words that clients may use: those of folders that the server's user named.

Clients name LoRAs in a field of their own. Tags in prompts stay words: whoever passes on the words
of others shall not pass on a choice of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.request import Request, RequestError
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
        self.folder = settings.loras
        given: Any = settings.embeddings or {}
        self.words: Mapping[str, Embedding] = Request(prompt="", embeddings=given).embeddings

    @property
    def loras(self) -> list[str]:
        """The names that clients may say."""
        return sorted({plain_name(file) for file in self._files().values()})

    def given(self, request: Request) -> Request:
        """The request with the files of the LoRAs that it names, and the server's learned words.

        Raises:
            RequestError: there is no such LoRA.
        """
        words = {**self.words, **request.embeddings}
        if not request.loras:
            return request.changed(embeddings=words) if words else request
        files = self._files()
        for name, _ in request.loras:
            if name not in files:
                must = "be names of LoRAs on this server" if files else "be left out on this server"
                raise RequestError("loras", must, name[:100])
        loras = tuple((files[name], weight) for name, weight in request.loras)
        return request.changed(loras=loras, embeddings=words)

    def _files(self) -> dict[str, str]:
        return files_in(str(self.folder)) if self.folder and Path(self.folder).is_dir() else {}
