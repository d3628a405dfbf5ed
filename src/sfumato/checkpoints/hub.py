"""From a name to files on this machine: presets, paths, and repositories of the Hugging Face Hub.

Of a repository only safetensors, JSON and text files are ever fetched, and only those that make a
model. A repository at a fixed commit that is complete in the cache is used without asking the Hub.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sfumato import presets
from sfumato.checkpoints.folders import PARTS, choose, read_json
from sfumato.checkpoints.tensors import CheckpointError
from sfumato.presets import Preset

SETTINGS = re.compile(
    r"model_index\.json|scheduler/scheduler_config\.json|tokenizer(_2)?/[\w.]+\.(json|txt)"
    r"|(unet|vae|text_encoder|text_encoder_2)/[\w.-]+\.json"
)
COMMIT = re.compile(r"[0-9a-f]{40}")


class Source(NamedTuple):
    """Where the files are, and the preset that was named, if one was."""

    path: Path
    preset: Preset | None = None


class Address(NamedTuple):
    """A repository of the Hub, at a revision, and one file of it if one was named."""

    repository: str
    revision: str = "main"
    file: str = ""


def resolve(name: str | os.PathLike[str], offline: bool | None = None) -> Source:
    """The files of a model, fetched from the Hub if they are not at hand.

    Args:
        name: a preset or one of its aliases; a folder or file; a repository "user/name" or
            "user/name@revision"; its URL, or that of one file in it. A preset's name comes before
            a folder of the same name ("./mini" is the folder).
        offline: never touch the network; default: as ``HF_HUB_OFFLINE`` says.

    Raises:
        ValueError: ``name`` is none of these.
        FileNotFoundError: the files are neither here nor to be had; says what was looked for where.
    """
    text = os.fspath(name)
    if preset := presets.find(text):
        if preset.folder:
            return Source(_bundled(preset), preset)
        address = Address(preset.repository, preset.revision)
        return Source(download(address, preset.variant, offline, preset), preset)
    path = Path(text).expanduser()
    if path.exists():
        return Source(path)
    if address := parse(text):
        return Source(download(address, None, offline))
    raise ValueError(
        f"A model must be a preset ({', '.join(presets.PRESETS)}), a folder, a file or a Hub "
        f"repository such as user/name. Received: {text!r}, and there is no such file"
    )


def parse(text: str) -> Address | None:
    """The address in a repository id or a URL of the Hub; None if it is neither."""
    text = re.sub(r"^(https?://)?(www\.)?(huggingface\.co|hf\.co)/|^hf://", "", text)
    word = r"[A-Za-z0-9][\w.-]*"
    found = re.fullmatch(
        rf"(?P<id>{word}/{word}?)(@(?P<at>[\w.-]+))?"
        r"(/(tree|blob|resolve)/(?P<revision>[\w.-]+))?(/(?P<file>[\w./ -]+\.safetensors))?"
        r"/?(\?download=true)?",
        text,
    )
    if not found or ".." in text:
        return None
    return Address(found["id"], found["at"] or found["revision"] or "main", found["file"] or "")


def _bundled(preset: Preset) -> Path:
    folder = preset.folder
    assert folder
    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(
            f"The preset {preset.name!r} is part of this package, but its weights are not in "
            f"`{folder}`. Install Sfumato anew, or name another model with `preset=` "
            "(`--model` on the command line)."
        )
    return folder


def download(
    address: Address,
    variant: str | None = None,
    offline: bool | None = None,
    preset: Preset | None = None,
) -> Path:
    """The folder (or the file) of a repository in the Hub's cache, complete."""
    from huggingface_hub import HfApi, constants, snapshot_download

    offline = constants.HF_HUB_OFFLINE if offline is None else offline
    repository, revision, _ = address
    at_hand = cached(address, preset)
    if at_hand and (offline or COMMIT.fullmatch(revision)):
        return at_hand
    cause: Exception | str = "the network is switched off (offline)"
    if not offline:
        try:
            # Not list_repo_files: it tries for half a minute where there is no network.
            about = HfApi().model_info(repository, revision=revision, timeout=10)
            names = [file.rfilename for file in about.siblings or []]
            wanted = [address.file] if address.file else select(names, variant)
            folder = snapshot_download(repository, revision=revision, allow_patterns=wanted)
            path = Path(folder, address.file)
            if not path.exists():
                raise FileNotFoundError(f"`{path}` is not there.")
            return path
        except CheckpointError:
            raise
        except Exception as error:  # noqa: BLE001  whatever the network's layers raise
            if at_hand:
                return at_hand
            cause = error
    raise FileNotFoundError(_explain(address, cause, preset)) from (
        cause if isinstance(cause, Exception) else None
    )


def select(names: Sequence[str], variant: str | None = None) -> list[str]:
    """The files of a repository that make a model: one variant of the weights, and the settings."""
    if "model_index.json" not in names:
        single = [n for n in names if n.endswith(".safetensors") and "/" not in n]
        if len(single) != 1:
            raise CheckpointError(
                "A repository without model_index.json must hold one .safetensors file, or the "
                f"file must be named (user/name/file.safetensors). Received: {single}"
            )
        return single
    weights = [
        file
        for part in PARTS
        for file in choose(
            [
                n
                for n in names
                if PurePosixPath(n).parent.name == part
                and n.count("/") == 1
                and n.endswith(".safetensors")
            ],
            variant,
        )
    ]
    if not any(file.startswith("unet/") for file in weights):
        raise CheckpointError("The repository holds no U-Net as safetensors.")
    return [n for n in names if SETTINGS.fullmatch(n)] + weights


def cached(address: Address, preset: Preset | None = None) -> Path | None:
    """The folder or file of a repository in the cache, if it is complete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            address.repository, revision=address.revision, local_files_only=True
        )
    except (LocalEntryNotFoundError, ValueError) as error:
        # huggingface_hub 2 calls a repository incomplete of which we took what we need.
        folder = getattr(error, "snapshot_path", None)
    if folder is None:
        return None
    path = Path(folder, address.file)
    return path if path.is_file() or is_complete(path, preset) else None


def is_complete(folder: Path, preset: Preset | None = None) -> bool:
    """Whether a folder has weights, all pieces of them, for every part its index names.

    Without an index, which all presets have, it must hold one file of weights.
    """
    index = read_json(folder / "model_index.json")
    parts = [part for part in PARTS if index.get(part) not in (None, [None, None])]
    if not parts:
        return not (index or preset) and len([*folder.glob("*.safetensors")]) == 1
    for part in parts:
        if not (folder / part).is_dir():
            return False
        files = choose([path.name for path in (folder / part).iterdir() if path.is_file()])
        count = re.search(r"-of-(\d{5})", files[0]) if files else None
        if not files or (count and len(files) != int(count[1])):
            return False
    return True


def cache_folder(repository: str) -> Path:
    """Where the Hub's client keeps what it has of a repository."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE, f"models--{repository.replace('/', '--')}")


def _explain(address: Address, cause: Exception | str, preset: Preset | None) -> str:
    from huggingface_hub import constants

    cache = cache_folder(address.repository)
    what = f"The preset {preset.name!r}" if preset else f"The model {address.repository!r}"
    files = ", ".join(preset.files if preset else [address.file or "its safetensors, JSON, text"])
    return (
        f"{what} needs files of the Hub repository {address.repository} (revision "
        f"{address.revision}) that are not at hand: {files}. Looked in `{cache}` and at "
        f"{constants.ENDPOINT}/{address.repository}: {cause}. Without a network, name a folder or "
        "file of weights, or use preset='mini' (`--model mini`), which is part of this package."
    )
