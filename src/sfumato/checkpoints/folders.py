"""Folders as diffusers and transformers write them: each part has its own, with a config.json."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from sfumato._files import read_json
from sfumato.checkpoints import nature
from sfumato.checkpoints.autoencoder_names import rename_vae
from sfumato.checkpoints.pickles import read_pickle
from sfumato.checkpoints.safetensors import read_safetensors
from sfumato.checkpoints.settings import check_scheduler, checked
from sfumato.checkpoints.tensors import CheckpointError, Tensors, check_content
from sfumato.presets.preset import WEIGHTS

Value = TypeVar("Value")

PARTS = tuple(WEIGHTS)
TOKENIZERS = ("tokenizer", "tokenizer_2")

LAYER = re.compile(r"encoder\.layers\.(\d+)\.")
STEMS = r"(diffusion_pytorch_model|pytorch_model|model)"
"""The names of the files of a part's weights, without what follows the first dot."""


def is_diffusers(folder: Path) -> bool:
    return (folder / "model_index.json").is_file() or (folder / "unet").is_dir()


def read_folder(
    folder: Path, variant: str | None = None
) -> tuple[dict[str, Tensors], dict[str, Any]]:
    """The parts of a folder by native name, and the settings of every part.

    Args:
        folder: with ``model_index.json`` or at least the folder ``unet``.
        variant: "fp16" prefers the files of that name; default: the files without a variant. Where
            there is only one of them, that one is read.

    Returns:
        Tensors of "unet", "vae", "text_encoder", "text_encoder_2", as far as there are such
        folders; and the JSON of each part's ``config.json`` and of "scheduler" and "index", with
        diffusers' own values for what they leave out.

    Raises:
        CheckpointError: a part has no weights, or files are damaged.
    """
    folders = [part for part in PARTS if (folder / part).is_dir()]
    settings = _settings(folder, folders)
    parts = {
        part: obeying(settings[part], native(part, read_part(folder / part, variant)))
        for part in folders
    }
    return parts, settings


def _settings(folder: Path, parts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The checked settings of a folder's parts, of its scheduler and of its index."""
    files = {part: folder / part / "config.json" for part in parts}
    files |= {each: folder / each / "tokenizer_config.json" for each in TOKENIZERS}
    files["scheduler"] = folder / "scheduler" / "scheduler_config.json"
    files["index"] = folder / "model_index.json"
    said = {part: read_settings(file) for part, file in files.items()}
    name = str(said["index"].get("_class_name", ""))
    other = nature.foreign_pipeline(name)
    if other or (name and "unet" not in said["index"] and "unet" not in parts):
        raise CheckpointError(f"`{folder}` is a {other or name}, not a model of 1.x, 2.x or XL.")

    scheduler = said["index"].get("scheduler")
    if isinstance(scheduler, list) and scheduler[-1]:  # comes before the scheduler's own word
        check_scheduler("scheduler", scheduler[-1], files["index"])
        if said["scheduler"]:
            said["scheduler"]["_class_name"] = scheduler[-1]
    return {part: checked(part, said[part], file) for part, file in files.items()}


def obeying(settings: Mapping[str, Any], tensors: Tensors) -> Tensors:
    """The tensors of a part without layers that its settings leave out.

    So folders say "clip skip", and that 2.x uses 23 of 24 layers.
    """
    layers = settings.get("num_hidden_layers")
    return without_layers(tensors, layers) if isinstance(layers, int) else tensors


def without_layers(text: Tensors, count: int) -> Tensors:
    """The tensors of a text encoder's first layers, and those of no layer."""
    return {
        name: tensor
        for name, tensor in text.items()
        if not (match := LAYER.match(name)) or int(match[1]) < count
    }


def native(part: str, tensors: Tensors) -> Tensors:
    """The tensors of a part by the names that diffusers and transformers give them today."""
    if part.startswith("text_encoder"):
        return {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    if part == "vae":
        return rename_vae(tensors)
    return tensors


def published(part: str, tensors: Mapping[str, Value]) -> dict[str, Value]:
    """Tensors, or what else is kept by their native names, by the names in a part's file."""
    if not part.startswith("text_encoder"):
        return dict(tensors)
    return {
        name if name.startswith("text_projection.") else f"text_model.{name}": value
        for name, value in tensors.items()
    }


def read_part(folder: Path, variant: str | None = None) -> Tensors:
    """All tensors of one part's folder, whether in one file or in several with an index."""
    names = choose([path.name for path in folder.iterdir() if path.is_file()], variant)
    if not names:
        raise CheckpointError(f"`{folder}` holds no weights (.safetensors or .bin).")
    tensors: Tensors = {}
    for name in names:
        read = read_safetensors if name.endswith(".safetensors") else read_pickle
        found = read(folder / name)
        if double := sorted(tensors.keys() & found.keys()):
            raise CheckpointError(f"`{folder}` holds the tensor `{double[0]}` twice.")
        tensors |= found
    if not tensors:
        raise CheckpointError(f"`{folder}` holds {nature.of_names(tensors)}.")
    for index in (path for path in folder.iterdir() if path.name.endswith(".index.json")):
        _check_index(index, names, tensors)
    return tensors


def choose(names: Sequence[str], variant: str | None = None) -> list[str]:
    """The files that hold a part's weights: one, or all pieces of a divided one.

    safetensors come before pickles, then the wanted variant, then no variant, then any; a whole
    file comes before pieces. Works on paths too; names that are not weights are passed over.
    """
    groups: dict[tuple[bool, bool, bool, str, bool], list[str]] = {}
    for name in names:
        found = re.fullmatch(
            STEMS + r"(?:\.(?P<variant>[\w-]+?))?(?P<piece>-\d{5}-of-\d{5})?(?:\.(?P<late>\w+))?"
            r"\.(?P<kind>safetensors|bin)",
            PurePosixPath(name).name,
        )
        if found:
            kind = found["variant"] or found["late"] or ""
            key = (found["kind"] != "safetensors", kind != (variant or ""), kind != "", kind)
            groups.setdefault((*key, found["piece"] is not None), []).append(name)
    return sorted(groups[min(groups)]) if groups else []


def _check_index(index: Path, names: list[str], tensors: Tensors) -> None:
    """All tensors that the index assigns to these files must be there."""
    places = read_settings(index).get("weight_map", {})
    if not isinstance(places, Mapping) or not set(map(str, places.values())) & set(names):
        return  # the index of another variant
    if lost := sorted(set(places) - set(tensors)):
        raise CheckpointError(f"`{index}` names the tensor `{lost[0]}`, which no file has.")


def read_settings(path: Path) -> dict[str, Any]:
    """The object in a part's JSON file; empty if there is no such file."""
    try:
        return read_json(path)
    except ValueError as error:
        check_content(path)
        raise CheckpointError(f"{error}") from error
