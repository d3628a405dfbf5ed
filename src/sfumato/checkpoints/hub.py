"""From a name to files on this machine: presets, paths, and repositories of the Hugging Face Hub.

Of a repository only safetensors, JSON and text files are ever fetched, and only those that make a
model. A repository at a fixed commit that is complete in the cache is used without asking the Hub.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from sfumato import presets
from sfumato._files import expanded
from sfumato.checkpoints.folders import PARTS, choose, read_settings
from sfumato.checkpoints.tensors import CheckpointError
from sfumato.presets import Preset

SETTINGS = re.compile(
    r"model_index\.json|scheduler/scheduler_config\.json|tokenizer(_2)?/[\w.]+\.(json|txt)"
    r"|(unet|vae|text_encoder|text_encoder_2)/[\w.-]+\.json"
)
HOSTS = r"huggingface\.co|hf\.co|hf-mirror\.com"
"""Of the Hub and of its best known mirror. That of ``HF_ENDPOINT`` is one, too."""
FILES = {".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".h5"}
COMMIT = re.compile(r"[0-9a-f]{40}")
CHOICES = (
    f"A model must be a preset ({', '.join(presets.PRESETS)}), "
    "a repository of the Hub such as user/name"
)


class Address(NamedTuple):
    """A model of the Hub or of the package: a repository, at a revision, or one file of it."""

    repository: str
    """Empty: the model is part of the package."""
    revision: str = "main"
    file: str = ""
    preset: Preset | None = None
    """The preset that was named, if one was."""


class Source(NamedTuple):
    """The files of a model, its preset if one was named, and its name as it may be published."""

    path: Path
    preset: Preset | None
    name: str


def resolve(name: str | os.PathLike[str], offline: bool | None = None) -> Source:
    """The files of a model, fetched from the Hub if they are not on this machine.

    Args:
        name: a preset or one of its aliases; a folder or file; a repository "user/name" or
            "user/name@revision"; its URL, or that of one file in it. A preset's name comes before
            a folder of the same name ("./mini" is the folder).
        offline: never touch the network; default: as ``HF_HUB_OFFLINE`` says.

    Raises:
        ValueError: ``name`` is none of these.
        FileNotFoundError: the files cannot be had; says what was looked for where.

    A folder that a preset's name hides is warned of.
    """
    text = os.fspath(name)
    address, path = find_address(text), expanded(text)
    if path.exists():
        if not (address and address.preset):
            return Source(path, None, presets.public_name(text))
        warnings.warn(
            f"{text!r} is a preset's name and means it; what lies here under that name is ./{text}",
            stacklevel=3,
        )
    if address is None:
        what = "no address of the Hub" if re.match(r"\w+://", text) else "no such file or folder"
        raise ValueError(f"{CHOICES}, a folder or a file. Received: {text!r}; there is {what}")
    try:
        return Source(download(address, offline), address.preset, text)
    except FileNotFoundError as error:
        if address.preset or "://" in text:
            raise
        here = f"There is no file or folder {text!r} in `{Path.cwd()}` either."
        raise FileNotFoundError(f"{error} {here}") from error.__cause__


def find_address(name: str) -> Address | None:
    """The address of a preset, or in a repository's id or URL; None if it is neither.

    A name of two parts that ends as a file of weights does is a path, not a repository.
    """
    if preset := presets.find(name):
        return Address(preset.repository, preset.revision, preset.file, preset)
    mirror = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "hf:/"
    text = re.sub(rf"^(https?://)?(www\.)?({HOSTS})/|^hf://|^{re.escape(mirror)}/", "", name)
    if text != name:  # a URL
        text = unquote(text)
    word, revision = r"[A-Za-z0-9][\w.-]*", r"(refs/(pr|convert|heads|tags)/)?[\w.-]+"
    found = re.fullmatch(
        rf"(?P<id>{word}/{word}?)(@(?P<at>{revision}))?"
        rf"(/(tree|blob|resolve)/(?P<revision>{revision}))?(/(?P<file>[\w./ -]+\.safetensors))?"
        r"/?(\?download=true)?",
        text,
    )
    if not found or ".." in text or PurePosixPath(found["id"]).suffix in FILES:
        return None
    return Address(found["id"], found["at"] or found["revision"] or "main", found["file"] or "")


def _bundled(preset: Preset) -> Path:
    folder = preset.folder
    assert folder
    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(
            f"The preset {preset.name!r} is part of this package, but its weights are not in "
            f"`{folder}`. Install Sfumato again, or name another model with `preset=` "
            "(`--model` on the command line)."
        )
    return folder


def download(address: Address, offline: bool | None = None) -> Path:
    """The folder (or the file) of a model, complete, from the cache or from the Hub."""
    from huggingface_hub import HfApi, constants, snapshot_download

    repository, revision, file, preset = address
    if preset and preset.folder:
        return _bundled(preset)
    offline = constants.HF_HUB_OFFLINE if offline is None else offline
    path = cached(address)
    if path and (offline or COMMIT.fullmatch(revision)):
        return path
    cause: Exception | str = "the network is switched off (offline)"
    if not offline:
        try:
            # Not list_repo_files: it tries for half a minute where there is no network.
            about = HfApi().model_info(repository, revision=revision, timeout=10)
            names = [sibling.rfilename for sibling in about.siblings or []]
            wanted = [file] if file else select(names, preset.variant if preset else None)
            folder = snapshot_download(repository, revision=revision, allow_patterns=wanted)
            fetched = Path(folder, file)
            if not fetched.exists():
                raise FileNotFoundError(f"`{fetched}` is not there.")
            return fetched
        except CheckpointError:
            raise
        except Exception as error:  # noqa: BLE001  whatever the network's layers raise
            if path:
                return path
            cause = error
    raise FileNotFoundError(_explain(address, cause)) from (
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
    weights: list[str] = []
    for part in PARTS:
        own = [n for n in names if n.startswith(f"{part}/") and n.count("/") == 1]
        chosen = choose([n for n in own if n.endswith(".safetensors")], variant)
        if not is_whole(chosen) and (own or part == "unet"):
            others = ", ".join(choose(own)) or "nothing"
            raise CheckpointError(
                f"The repository must hold its {part} as safetensors, all pieces of it. It holds "
                f"{others}. Old repositories often have it at the revision refs/pr/1 "
                "(user/name@refs/pr/1)."
            )
        weights += chosen
    return [n for n in names if SETTINGS.fullmatch(n)] + weights


def cached(address: Address) -> Path | None:
    """The folder or file of a repository in the cache, if it is complete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository, revision, file, preset = address
    try:
        folder = snapshot_download(repository, revision=revision, local_files_only=True)
    except (LocalEntryNotFoundError, ValueError) as error:
        # huggingface_hub 2 calls a repository incomplete of which we took what we need.
        folder = getattr(error, "snapshot_path", None)
    except RuntimeError:  # a user without a home has no cache
        return None
    if folder is None:
        return None
    path = Path(folder, file)
    return path if path.is_file() or is_complete(path, preset) else None


def is_complete(folder: Path, preset: Preset | None = None) -> bool:
    """Whether a folder has weights, all pieces of them, for every part its index names.

    Without an index, which all presets have, it must hold one file of weights.
    """
    index = read_settings(folder / "model_index.json")
    parts = [part for part in PARTS if index.get(part) not in (None, [None, None])]
    if not parts:
        return not (index or preset) and len([*folder.glob("*.safetensors")]) == 1
    for part in parts:
        if not (folder / part).is_dir():
            return False
        files = choose([path.name for path in (folder / part).iterdir() if path.is_file()])
        if not is_whole(files):
            return False
    return True


def is_whole(files: Sequence[str]) -> bool:
    """Whether these are the weights of a part: one file, or all pieces of a divided one."""
    count = re.search(r"-of-(\d{5})", files[0]) if files else None
    return bool(files) and (count is None or len(files) == int(count[1]))


def cache_folder(repository: str) -> Path:
    """The folder in which the Hub's client keeps the files of a repository."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE, f"models--{repository.replace('/', '--')}")


def _explain(address: Address, cause: Exception | str) -> str:
    from huggingface_hub import constants

    repository, revision, file, preset = address
    cache = cache_folder(repository)
    what = f"The preset {preset.name!r}" if preset else f"The model {repository!r}"
    files = ", ".join(preset.files if preset else [file or "its safetensors, JSON, text"])
    return (
        f"{what} needs files of the Hub repository {repository} (revision {revision}) that are not "
        f"here: {files}. Looked in `{cache}` and at {constants.ENDPOINT}/{repository}: {cause}. "
        "Without a network, name a folder or file of weights, or use preset='mini' "
        "(`--model mini`), which is part of this package."
    )
