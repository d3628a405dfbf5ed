"""Where compiled programs are kept on disk, so that the next process starts warm."""

from __future__ import annotations

import os
from pathlib import Path

OFF = ("0", "off", "no", "false", "")


def directory() -> Path | None:
    """The folder of compiled programs, or None when the cache is switched off.

    ``SFUMATO_COMPILE_CACHE`` moves it to another folder or, set to ``off``, switches it off.
    Entries are executables: only a folder that nobody else can write to may be used.
    """
    chosen = os.environ.get("SFUMATO_COMPILE_CACHE")
    if chosen is not None:
        return None if chosen.lower() in OFF else Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("sfumato", appauthor=False) / "compiled"
