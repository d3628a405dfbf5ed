"""The models on this machine: which presets are here, whether they are whole, and removing them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from sfumato.checkpoints.checkpoint import open_checkpoint
from sfumato.checkpoints.hub import Address, cached
from sfumato.checkpoints.tensors import CheckpointError
from sfumato.presets import Preset

SHA256 = re.compile(r"[0-9a-f]{64}")


def locate(preset: Preset) -> Path | None:
    """The folder of a preset that is complete on this machine, without asking the Hub; or None."""
    if preset.folder:
        return preset.folder if (preset.folder / "model_index.json").is_file() else None
    return cached(Address(preset.repository, preset.revision))


def remove(preset: Preset) -> int:
    """Remove a preset's repository from the Hub's cache.

    Returns:
        The bytes that were freed; 0 if it was not there.

    Raises:
        ValueError: the preset is part of this package.
    """
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    if preset.folder:
        raise ValueError(f"`{preset.name}` is part of Sfumato and cannot be removed.")
    try:
        cache = scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        return 0
    revisions = [
        revision.commit_hash
        for repository in cache.repos
        if repository.repo_id == preset.repository and repository.repo_type == "model"
        for revision in repository.revisions
    ]
    if not revisions:
        return 0
    plan = cache.delete_revisions(*revisions)
    plan.execute()
    return plan.expected_freed_size


def verify(folder: Path) -> int:
    """Check a model's files: their bytes, where the Hub recorded a hash, and what they hold.

    The Hub's cache names a large file by its SHA-256, so no list of hashes is needed.

    Returns:
        The number of files whose hash was compared.

    Raises:
        CheckpointError: a file is damaged, or its content is not what was published.
    """
    compared = 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if not SHA256.fullmatch(expected := path.resolve().name):
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise CheckpointError(f"`{path}` has the SHA-256 {found} instead of {expected}.")
        compared += 1
    open_checkpoint(folder)
    return compared
