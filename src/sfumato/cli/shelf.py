"""The models on this machine: in the package, and in the cache of the Hugging Face Hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sfumato.cli.help import UsageError

if TYPE_CHECKING:
    from huggingface_hub import CachedRevisionInfo, HFCacheInfo

    from sfumato.presets import Preset


@dataclass(frozen=True)
class Entry:
    """A model that may be on this machine."""

    name: str
    repository: str
    """On the Hub; empty: part of the package."""
    revision: str
    preset: Preset | None
    path: Path | None
    """The complete files; None if they are not here."""

    @property
    def bytes(self) -> int:
        """Size on disk; 0 if it is not here."""
        return sum(file.stat().st_size for file in self.files())

    def files(self) -> Iterator[Path]:
        """All files of the model that are here."""
        if self.path is not None:
            yield from sorted(file for file in self.path.rglob("*") if file.is_file())


def look_up(name: str) -> Entry:
    """What is known of a preset or of a Hub repository, without asking the network.

    Raises:
        UsageError: `name` is neither.
    """
    from sfumato import presets
    from sfumato.checkpoints import CheckpointError, hub

    if preset := presets.find(name):
        place = (preset.name, preset.repository, preset.revision)
    elif address := hub.parse(name):
        place = (name, address.repository, address.revision)
    else:
        known = ", ".join(presets.PRESETS)
        raise UsageError(f"MODEL must be one of {known}, or a Hub repository. Received: {name}")
    try:
        return Entry(*place, preset, hub.resolve(name, offline=True).path)
    except (FileNotFoundError, CheckpointError):  # nothing there, or damaged
        return Entry(*place, preset, None)


def has_files(entry: Entry) -> bool:
    """Whether anything of a model is here, be it complete or not."""
    return entry.path is not None or _cached_revision(entry) is not None


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
    ones by their git hash. So this needs no network. The files of the package have no such name; of
    them only the frame is checked.
    """
    revision = _cached_revision(entry)
    if revision is None:
        return [] if entry.path is None else _damaged_frame(entry.path)
    files = sorted(revision.files, key=lambda file: file.file_path)
    root = revision.snapshot_path
    return [
        str(file.file_path.relative_to(root)) for file in files if not _is_intact(file.blob_path)
    ]


def _damaged_frame(folder: Path) -> list[str]:
    from sfumato.checkpoints import CheckpointError, open_checkpoint

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
    except CacheNotFound:
        return None
    for repository in repositories:
        if (repository.repo_type, repository.repo_id) == ("model", entry.repository):
            for revision in repository.revisions:
                if entry.revision == revision.commit_hash or entry.revision in revision.refs:
                    return revision
    return None
