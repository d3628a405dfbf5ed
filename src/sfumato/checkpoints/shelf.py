"""The models on this machine: in the package, and in the cache of the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sfumato.checkpoints import hub
from sfumato.checkpoints.opening import open_checkpoint
from sfumato.checkpoints.tensors import CheckpointError

if TYPE_CHECKING:
    from huggingface_hub import CachedRevisionInfo, HFCacheInfo

DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """A model that may be on this machine."""

    name: str
    address: hub.Address
    path: Path | None
    """The complete files; None if they are not here."""

    @property
    def bytes(self) -> int:
        """Size on disk; 0 if it is not here."""
        return sum(file.stat().st_size for file in self.files())

    def files(self) -> Iterator[Path]:
        """All files of the model that are here."""
        if self.path is not None:
            paths = [self.path, *sorted(self.path.rglob("*"))]
            yield from (path for path in paths if path.is_file())


def look_up(name: str) -> Entry:
    """A preset or a repository of the Hub on this machine, without asking the network.

    Raises:
        ValueError: ``name`` is neither.
    """
    address = hub.find_address(name)
    if address is None:
        raise ValueError(f"{hub.CHOICES}. Received: {name}")
    try:
        path = hub.cached(address) if address.repository else hub.download(address)
    except (FileNotFoundError, CheckpointError):  # nothing there, or damaged
        path = None
    return Entry(address.preset.name if address.preset else name, address, path)


def has_files(entry: Entry) -> bool:
    """Whether anything of a model is here, be it complete or not."""
    found = entry.path or _cached_revision(entry) or broken_folder(entry)
    return found is not None


def broken_folder(entry: Entry) -> Path | None:
    """The folder of a repository in the cache if the Hub's client cannot find its way in it."""
    folder = hub.cache_folder(entry.address.repository)
    if not folder.is_dir() or folder.name in {each.repo_path.name for each in _scan().repos}:
        return None
    return folder


def remove(entry: Entry) -> int:
    """Remove a model's revision from the Hub's cache; returns the bytes that were freed."""
    revision = _cached_revision(entry)
    if revision is None:
        return 0
    strategy = _scan().delete_revisions(revision.commit_hash)
    strategy.execute()
    return strategy.expected_freed_size


def damaged(entry: Entry) -> list[str]:
    """Names of the files whose content is not what the Hub published.

    The cache names a file's content by what the Hub says of it: large files by their SHA-256, small
    ones by their git hash. So this needs no network. The files of the package have no such name,
    nor has any file where Windows makes no links; of these only the frame is checked.
    """
    blobs: dict[str, Path] = {}
    if revision := _cached_revision(entry):
        for file in revision.files:
            name = file.file_path.relative_to(revision.snapshot_path).as_posix()
            if DIGEST.fullmatch(file.blob_path.name) and entry.address.file in ("", name):
                blobs[name] = file.blob_path
    if blobs:
        return [name for name, blob in sorted(blobs.items()) if not _is_intact(blob)]
    preset = entry.address.preset
    if entry.path is None or (preset and preset.base):  # a LoRA by itself is no model
        return []
    return _damaged_frame(entry.path)


def _damaged_frame(folder: Path) -> list[str]:
    try:
        open_checkpoint(folder)
    except CheckpointError as error:
        return [str(error)]
    return []


def _is_intact(blob: Path) -> bool:
    """Whether a file of the cache has the content that its name promises."""
    git = len(blob.name) == 40
    digest = hashlib.sha1(usedforsecurity=False) if git else hashlib.sha256()
    if git:
        digest.update(b"blob %d\0" % blob.stat().st_size)
    with blob.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == blob.name


def _scan() -> HFCacheInfo:
    from huggingface_hub import constants, scan_cache_dir

    return scan_cache_dir(constants.HF_HUB_CACHE)


def _cached_revision(entry: Entry) -> CachedRevisionInfo | None:
    """The model's place in the Hub's cache, complete or not."""
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = _scan().repos
    except (CacheNotFound, RuntimeError):  # RuntimeError: a user without a home
        return None
    for repository in repositories:
        if (repository.repo_type, repository.repo_id) == ("model", entry.address.repository):
            for revision in repository.revisions:
                if entry.address.revision in {revision.commit_hash, *revision.refs}:
                    return revision
    return None
