"""A ControlNet's files: diffusers' folder, or one file of diffusers' or of the original names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sfumato.adapters.t2i import is_t2i, read_t2i
from sfumato.checkpoints import compvis, folders, nature
from sfumato.checkpoints.architecture import Shapes, shapes_of
from sfumato.checkpoints.controlnet import HINT, controlnet_config
from sfumato.checkpoints.pickles import read_pickle
from sfumato.checkpoints.safetensors import read_safetensors
from sfumato.checkpoints.settings import checked
from sfumato.checkpoints.tensors import CheckpointError, Tensors, rename
from sfumato.checkpoints.weights import dequantized
from sfumato.networks.configs import ControlNetConfig, T2IAdapterConfig, UNetConfig
from sfumato.presets.families import FAMILIES, find_family

PREFIX = "control_model."  # where the file has the whole model that it was trained with
SHARED = ("conv_in.", "time_embedding.", "add_embedding.", "down_blocks.", "mid_block.")
"""The parts that a ControlNet has as its U-Net has them."""
NUMBERED = re.compile(r"(input_hint_block|zero_convs)\.(\d{1,3})\.(0\.)?weight")
TASKS = ("pose", "depth", "soft", "edges", "normal", "segments", "tile", "inpaint")
"""What the picture of a ControlNet-Union may be, in the order of its vectors."""
GLOBAL = re.compile(r"shuffle(_fp16)?$")
"""The end of the name of a file whose ControlNet tells no places."""
CONTEXT = re.compile(r".*\.attn2\.to_k\.(weight|down)$")
SIZES = ("add_embedding.linear_1.weight", "label_emb.0.0.weight", "label_emb.0.0.down")
OTHERS = (
    (r"lllite_unet_", "a ControlNet-LLLite"),
    (r".*ctrl_to_base", "a ControlNet-XS"),
)
"""Names of tensors of other networks that lead a U-Net, and what their files are."""


class ControlNetFile(NamedTuple):
    """A ControlNet for one model. Its tensors are views of the mapped file where they can be."""

    config: ControlNetConfig | T2IAdapterConfig
    tensors: Tensors
    is_bgr: bool = False
    """Whether the first channel of its pictures is blue."""


def read_controlnet(
    path: str | os.PathLike[str], base: UNetConfig, weights: Tensors, task: str | None = None
) -> ControlNetFile:
    """Read a ControlNet for a U-Net.

    Args:
        path: a folder of diffusers, .safetensors, or a pickle of PyTorch, which is read without
            running it.
        base: the configuration of the U-Net.
        weights: of the U-Net; Control-LoRAs and files of differences change them.
        task: what the picture is, one of ``TASKS``; only a ControlNet-Union asks for it.

    Raises:
        CheckpointError: the file is damaged, no ControlNet, made for models of another family, or
            for other tasks.
    """
    path = Path(path)
    tensors = _load(path)
    if own := {k.removeprefix(PREFIX): v for k, v in tensors.items() if k.startswith(PREFIX)}:
        tensors = own | {k: v for k, v in tensors.items() if k == "difference"}
    if is_t2i(tensors):
        return ControlNetFile(*read_t2i(path, tensors, base))
    _check_nature(path, tensors)
    settings = _settings(path)
    _check_family(path, shapes_of(tensors), base)
    tensors = _whole(path, _native(tensors, base), weights)
    if "task_embedding" in tensors:
        tensors = _of_task(path, tensors, task)
    if GLOBAL.search(path.stem):
        settings["global_pool_conditions"] = True
    config = controlnet_config(shapes_of(tensors), base, settings)
    order = settings.get("controlnet_conditioning_channel_order")
    return ControlNetFile(config, tensors, order == "bgr")


def _load(path: Path) -> Tensors:
    ending = path.suffix.lower()
    if path.is_dir():
        return folders.read_part(path)
    if ending == ".safetensors":
        return read_safetensors(path)
    if ending in nature.PICKLES:
        return read_pickle(path)
    endings = f".safetensors, {', '.join(nature.PICKLES)}"
    raise CheckpointError(f"A ControlNet must end in {endings}. Received: path={path}")


def _settings(path: Path) -> dict[str, Any]:
    """The ``config.json`` of a folder, or of a file that is named as in one."""
    if not (path.is_dir() or folders.choose([path.name])):  # it is some other file's
        return {}
    config = (path if path.is_dir() else path.parent) / "config.json"
    return checked("controlnet", folders.read_settings(config), config)


def _check_nature(path: Path, tensors: Tensors) -> None:
    """Refuse what is no ControlNet, by name."""
    what = next((w for p, w in OTHERS if any(re.match(p, name) for name in tensors)), None)
    is_one = f"{HINT}conv_in.weight" in tensors or "input_hint_block.0.weight" in tensors
    if what or not is_one:
        found = what or nature.of_names(tensors)
        raise CheckpointError(f"`{path}` holds {found}, which cannot be used as a ControlNet.")


def _check_family(path: Path, shapes: Shapes, base: UNetConfig) -> None:
    """Refuse a ControlNet of another family, which its text and XL's sizes tell, by name."""
    width = next((s[1] for name, s in shapes.items() if CONTEXT.match(name) and len(s) > 1), None)
    takes_sizes = base.added_width > 0
    has_sizes = any(name in shapes for name in SIZES)
    if "lora_controlnet" in shapes and not has_sizes:  # they may be the model's
        has_sizes = takes_sizes
    if has_sizes == takes_sizes and width in (None, base.context_width):
        return
    kin = [f for f in FAMILIES if bool(f.size_embedding) == has_sizes]
    made_for = next((f.name for f in kin if width in (None, f.context_width)), "unknown")
    mine = find_family(base.context_width, takes_sizes).name
    raise CheckpointError(
        f"The ControlNet `{path}` is made for models of the kind {made_for}, and the model is "
        f"{mine}, which reads texts of width {base.context_width}. Received: width {width}"
    )


def _native(tensors: Tensors, base: UNetConfig) -> Tensors:
    """The tensors by diffusers' names."""
    names = compvis.unet_names(base) | {"middle_block_out.0": "controlnet_mid_block"}
    found = {side: [] for side in ("input_hint_block", "zero_convs")}
    for match in filter(None, map(NUMBERED.fullmatch, tensors)):
        found[match[1]].append(int(match[2]))
    hints = sorted(found["input_hint_block"])
    ends = ["conv_in", *(f"blocks.{i}" for i in range(len(hints) - 2)), "conv_out"]
    names |= {f"input_hint_block.{n}": f"{HINT}{end}" for n, end in zip(hints, ends, strict=False)}
    names |= {f"zero_convs.{n}.0": f"controlnet_down_blocks.{n}" for n in found["zero_convs"]}

    def native(name: str) -> str:
        stem, dot, leaf = name.rpartition(".")
        return f"{names.get(stem, stem)}{dot}{leaf}"

    return rename(tensors, native)


def _whole(path: Path, tensors: Tensors, weights: Tensors) -> Tensors:
    """The tensors of a ControlNet, of a Control-LoRA, or of the differences from a U-Net."""
    tensors = {**tensors}
    is_lora = tensors.pop("lora_controlnet", None) is not None
    is_difference = tensors.pop("difference", None) is not None
    known = {
        name: weights[name]
        for name in weights
        if name.startswith(SHARED) and "cond_proj" not in name  # of the guidance
    }
    try:
        if is_difference:
            both = known.keys() & tensors.keys()
            return tensors | {name: _float(name, known) + tensors[name] for name in both}
        if is_lora:
            changed = [name.removesuffix(".up") for name in tensors if name.endswith(".up")]
            for stem in changed:
                up, down = tensors.pop(f"{stem}.up"), tensors.pop(f"{stem}.down")
                weight = _float(f"{stem}.weight", known)
                change = up.reshape(len(up), -1).astype("float32") @ down.reshape(len(down), -1)
                tensors[f"{stem}.weight"] = weight + change.reshape(weight.shape)
            return known | tensors
    except (KeyError, ValueError) as error:
        what = f"The Control-LoRA `{path}` does not fit the model"
        raise CheckpointError(f"{what}: {error}") from error
    return tensors


def _of_task(path: Path, tensors: Tensors, task: str | None) -> Tensors:
    """The tensors of a ControlNet-Union for one task."""
    known = TASKS[: len(tensors["task_embedding"])]
    if task not in known:
        must = f"`task` must be one of {', '.join(known)}, for the ControlNet-Union `{path}`"
        raise CheckpointError(f"{must}. Received: task={task}")
    number, bias = TASKS.index(task), "time_embedding.linear_2.bias"
    rest = {k: v for k, v in tensors.items() if not k.startswith(("task_", "control_add_"))}
    try:
        shift = _time_shift(tensors, number, len(known))
        rest |= {bias: (rest[bias] + shift).astype("float32")}
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"`{path}` is no sound ControlNet-Union: {error}") from error
    mixer = {
        f"mixer.{name}": rest.pop(name)
        for name in [*rest]
        if name.startswith(("transformer_layes.", "spatial_ch_projs."))
    }
    for name in [name for name in mixer if "attn.in_proj_" in name]:
        queries_keys_values = mixer.pop(name)  # see ``networks.union``
        values = queries_keys_values[2 * len(queries_keys_values) // 3 :]
        mixer[name.replace("in_proj_", "value.")] = values
    mixer = {re.sub(r"\.(attn|mlp)\.", ".", name): tensor for name, tensor in mixer.items()}
    return rest | mixer | {"mixer.task.bias": tensors["task_embedding"][number]}


def _time_shift(tensors: Tensors, number: int, count: int) -> np.ndarray:
    """The shift of the time embedding by one of several tasks, which is the same at all times."""
    one, two = (f"control_add_embedding.linear_{n}." for n in (1, 2))
    half = tensors[f"{one}weight"].shape[-1] // count // 2
    frequencies = np.exp(-np.log(10000.0) / half * np.arange(half))
    angles = (np.arange(count) == number)[:, None] * frequencies
    waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=1).ravel()
    y = tensors[f"{one}weight"].astype("float64") @ waves + tensors[f"{one}bias"]
    y = y / (1 + np.exp(-y))
    return tensors[f"{two}weight"].astype("float64") @ y + tensors[f"{two}bias"]


def _float(name: str, weights: Tensors) -> np.ndarray:
    return dequantized(name, weights).astype("float32")
