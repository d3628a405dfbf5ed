"""Compiled programs on disk, so that the next process starts warm.

An entry is a file whose name is a digest of all that its content depends on. It begins with a
digest of that name and the content, so what is damaged, cut short or from elsewhere is not read,
and the next ``write`` replaces it.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from sfumato._files import expanded, replacing

FOLDER = "SFUMATO_COMPILE_CACHE"  # the variable of the environment
OFF = ("0", "off", "no", "false", "")
MOST = 2**30  # bytes of a folder of entries, beyond which those unused for longest are deleted
DIGEST = hashlib.sha256().digest_size


def directory() -> Path | None:
    """The folder of compiled programs, or None: the cache is switched off, or there is no home.

    ``SFUMATO_COMPILE_CACHE`` moves it to another folder or, set to ``off``, switches it off.
    Entries are executables: only a folder that nobody else can write to may be used.
    """
    chosen = os.environ.get(FOLDER)
    if chosen is None:
        from platformdirs import user_cache_path

        with suppress(RuntimeError):  # a user without a home
            chosen = str(user_cache_path("sfumato", appauthor=False) / "compiled")
    folder = None if chosen is None or chosen.lower() in OFF else expanded(chosen)
    return None if folder is None or folder.parts[0].startswith("~") else folder


def read(path: Path) -> bytes | None:
    """The content that ``write`` wrote there, or None when there is nothing or something else.

    An entry of another user is something else, wherever the system knows of users.
    """
    try:
        with path.open("rb") as file:
            if hasattr(os, "getuid") and os.fstat(file.fileno()).st_uid not in (0, os.getuid()):
                return None
            digest, content = file.read(DIGEST), file.read()
    except OSError:
        return None
    if digest != _digest(path.name, content):
        return None
    with suppress(OSError):  # a folder that can only be read
        os.utime(path)
    return content


def write(path: Path, content: bytes) -> None:
    """In one move, so that another process sees all of it or nothing.

    A folder that cannot be written to is no reason to fail: nothing is kept then.
    """
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(path, mode=0o600, durable=False) as file:  # of this user alone
            file.write(_digest(path.name, content))
            file.write(content)
        prune(path.parent)


def prune(folder: Path) -> None:
    """Delete what was unused for longest, until ``folder`` has no more than ``MOST`` bytes."""
    files = []
    for path in folder.iterdir():
        with suppress(OSError):  # another process has just deleted it
            status = path.stat()
            files.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= MOST:
            return
        with suppress(OSError):
            path.unlink()
            total -= size


def _digest(name: str, content: bytes) -> bytes:
    digest = hashlib.sha256(name.encode())
    digest.update(content)
    return digest.digest()
