"""The LoRAs of a request: names to files, tags in a prompt, and what a recipe says of them."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.request.fields import RequestError

if TYPE_CHECKING:
    from sfumato.request.request import Request

TAG = re.compile(r"<lora:([^<>]+)>")
ENDINGS = (".safetensors", ".pt", ".ckpt", ".bin", ".pth")


def with_files(request: Request) -> Request:
    """The request with the files of its LoRAs in place of their names.

    Raises:
        RequestError: a file is not there.
    """
    if not request.loras:
        return request
    files = files_in(request.lora_folder) if request.lora_folder else {}
    loras = tuple((file_of(name, files), weight) for name, weight in request.loras)
    return request.changed(loras=loras)


def with_tags(request: Request) -> Request:
    """The request of one picture with the LoRAs that its prompt names, and without their tags.

    Tags are read only where the user named a folder, and name only files in it.

    Raises:
        RequestError: a file is not there, or the weights are no numbers.
    """
    folder = request.lora_folder
    if folder is None or request.prompt_syntax == "plain" or not TAG.search(request.prompt):
        return request
    files, loras = files_in(folder), [*request.loras]
    for name, weight in map(read_tag, TAG.findall(request.prompt)):
        if name not in files:
            raise RequestError("lora_folder", f"have the LoRA {name}", folder)
        loras.append((files[name], weight))
    prompt = re.sub(" ?" + TAG.pattern, "", request.prompt).strip()
    return replace(request, prompt=prompt, loras=tuple(loras))


def files_in(folder: str) -> dict[str, str]:
    """The LoRAs of a folder and of those in it, by name and by path within it, without ending."""
    found: dict[str, str] = {}
    for file in sorted(Path(folder).rglob("*")):
        if file.suffix.lower() in ENDINGS and file.is_file():
            inner = file.relative_to(folder).with_suffix("").as_posix()
            for name in (file.stem, inner):
                found.setdefault(name, str(file))
    return found


def file_of(name: str, files: dict[str, str]) -> str:
    """The file that a name stands for: one of the folder's, or the path of a file."""
    from sfumato._files import expanded

    if name in files:
        return files[name]
    path = expanded(name)
    if not path.is_file():
        raise RequestError("loras", "be files, or names of files in `lora_folder`", name)
    return str(path)


def read_tag(text: str) -> tuple[str, Any]:
    """The name and the weight of "name:text:unet", where both weights may be left out or named."""
    name, *said = (part.strip() for part in text.split(":"))
    weights: dict[str, float] = {}
    for part, default in zip(said, ("te", "unet", ""), strict=False):
        key, equals, number = part.rpartition("=")
        key = key if equals else default
        try:
            weights[key] = float(number)
        except ValueError:
            key = ""
        if key not in ("te", "unet"):
            must = "have numbers in tags such as <lora:name:0.8>, or te=0.5 and unet=0.8"
            raise RequestError("prompt", must, f"<lora:{text}>")
    of_text = weights.get("te", 1.0)
    of_unet = weights.get("unet", of_text)
    return name, of_text if of_text == of_unet else (("text", of_text), ("unet", of_unet))


def hashes(loras: tuple[tuple[str, Any], ...]) -> dict[str, str]:
    """The item of a recipe that names the files as A1111 does; files that are gone are left out."""
    paths = [path for name, _ in loras if (path := Path(name)).is_file()]
    said = ", ".join(f"{path.stem}: {hash_of(path)}" for path in paths)
    return {"Lora hashes": said} if said else {}


def warn_of_others(request: Request, items: Mapping[str, str]) -> None:
    """Warn of files in the user's folder that are not those of a recipe's items."""
    said = re.findall(r"([^,:]+): *([0-9a-f]{8,})", items.get("Lora hashes", ""))
    files = files_in(request.lora_folder) if said and request.lora_folder else {}
    for name, digest in said:
        file = files.get(name.strip())
        if file and hash_of(Path(file))[: len(digest)] != digest[:12]:
            warnings.warn(
                f"The LoRA {name.strip()} is not the one of the recipe, so the picture will "
                f"differ. Received: {file}",
                stacklevel=3,
            )


def hash_of(path: Path) -> str:
    """The 12 digits by which A1111 names a file: of the tensors alone in safetensors."""
    state = path.stat()
    return _hash(path, state.st_mtime_ns, state.st_size)


@lru_cache
def _hash(path: Path, *_state: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if path.suffix.lower() == ".safetensors":
            file.seek(8 + int.from_bytes(file.read(8), "little"))
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:12]
