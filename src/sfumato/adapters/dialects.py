"""The keys of a LoRA's file -> (name of a layer, parameter), whatever program wrote it.

A parameter is called as kohya and LyCORIS call it, without ``.weight``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from sfumato.adapters.names import Layer, Networks
from sfumato.checkpoints.tensors import CheckpointError, Tensors

REWRITTEN = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^base_model\.model\.", ""),
        (r"^transformer\.text_model\.", "text_model."),
        # diffusers, from the oldest to the newest
        (r"\.processor\.", "."),
        (r"\.to_out_lora\.", ".to_out.0.lora."),
        (r"\.(to_[qkv])_lora\.", r".\1.lora."),
        (r"\.lora_linear_layer\.", ".lora."),
        (r"\.lora\.(down|up)\.weight$", r".lora_\1.weight"),
        # PEFT, with or without the name of the adapter
        (r"\.lora_A((\.\w+)?\.weight)?$", ".lora_down.weight"),
        (r"\.lora_B((\.\w+)?\.weight)?$", ".lora_up.weight"),
        (r"\.lora_B(\.\w+)?\.bias$", ".bias"),
        (r"\.lora_magnitude_vector(\.\w+)*$", ".magnitude"),
        (r"\.(lora_(?:up|mid|down)|[ab][12])\.weight$", r".\1"),
    )
]
PARAMETERS = {
    *("lora_up", "lora_mid", "lora_down", "bias", "magnitude", "dora_scale", "alpha", "scale"),
    *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
    *("diff", "diff_b", "w_norm", "b_norm", "set_weight", "weight", "on_input"),
    *("a1", "a2", "b1", "b2", "oft_blocks", "oft_diag", "rescale"),
}
INDEXED = re.compile(r"(unet|text_encoder):(\d{1,4}):(up|down)")
BUNDLED = re.compile(r"bundle_emb\.(.+)\.(string_to_param\.\*|clip_l|clip_g)")
WORD = re.compile(r"<[^<>]+>")

Modules = dict[str, dict[str, str]]
"""Name of a layer -> parameter -> its key in the file."""


def sort(keys: Tensors, networks: Networks) -> tuple[Modules, list[str]]:
    """The keys of a file by layer and parameter, and those that are of none."""
    modules: Modules = {}
    rest: list[str] = []
    numbered = [match.groups() for match in map(INDEXED.fullmatch, keys) if match]
    orders = {
        part: _order(networks, part, sum(name == part for name, *_ in numbered) // 2)
        for part in ("unet", "text_encoder")
        if numbered
    }
    for key in keys:
        if match := INDEXED.fullmatch(key):
            part, index = match[1], int(match[2])
            if index >= len(orders[part]):
                rest.append(key)
                continue
            name, parameter = f"{part}.{orders[part][index]}", f"lora_{match[3]}"
        else:
            name, parameter = split(key)
        if parameter in PARAMETERS:
            modules.setdefault(name, {})[parameter] = key
        else:
            rest.append(key)
    rest += [
        parameters.pop("weight")  # of a network, where it is not IA3's
        for parameters in modules.values()
        if "weight" in parameters and "on_input" not in parameters
    ]
    return {name: parameters for name, parameters in modules.items() if parameters}, rest


def split(key: str) -> tuple[str, str]:
    """The name of the layer and the parameter of a key; any other key just at its last dot."""
    for pattern, replacement in REWRITTEN:
        key = pattern.sub(replacement, key)
    name, _, parameter = key.rpartition(".")
    return name, parameter


def named(tensors: list[np.ndarray], networks: Networks) -> Tensors:
    """The tensors of cloneofsimo's lists, up and down in turn, by its later keys.

    Raises:
        CheckpointError: they are not as many, or of other shapes, than a network of the model has.
    """
    for part in ("unet", "text_encoder"):
        names = _order(networks, part, len(tensors) // 2)
        layers = [networks.find(f"{part}.{name}") for name in names]
        shapes = [shape for layer in layers if layer for shape in _shapes(layer, tensors[0])]
        if names and [tensor.shape for tensor in tensors] == shapes:
            keys = [f"{part}:{i}:{kind}" for i in range(len(names)) for kind in ("up", "down")]
            return dict(zip(keys, tensors, strict=True))
    raise CheckpointError(
        "A list of tensors must be of as many layers as a network of the model has, and in their "
        f"shapes. Received: {len(tensors)} tensors, the first of shape {tensors[0].shape}"
    )


def _order(networks: Networks, part: str, count: int) -> list[str]:
    """The layers that are numbered in a file of so many."""
    names = networks.indexed(part)
    return names if len(names) == count else networks.indexed(part, gates=False)


def _shapes(layer: Layer, first: np.ndarray) -> list[tuple[int, ...]]:
    """Of up and down of a layer, at the rank of the first up."""
    rank = first.shape[-1] if first.ndim else 0
    return [(layer.shape[0], rank), (rank, layer.shape[1])]


def take_words(tensors: Tensors) -> dict[str, Tensors]:
    """Remove the textual inversions from a file's tensors and return them by word and encoder."""
    words: dict[str, Tensors] = {}
    for key in [*tensors]:
        if match := BUNDLED.fullmatch(key):
            part = "text_encoder_2" if match[2] == "clip_g" else "text_encoder"
            words.setdefault(match[1], {})[part] = tensors.pop(key)
        elif WORD.fullmatch(key):
            words.setdefault(key, {})["text_encoder"] = tensors.pop(key)
    return words


def alphas(said: Mapping[str, object], part: str, name: str) -> tuple[float, bool] | None:
    """What PEFT's settings say of a layer: alpha, and whether the rank's root divides it.

    Args:
        said: the settings of one network, or of all with its name before each.
        part: the network.
        name: the native name of the layer, or as the file has it.
    """
    prefix = f"{part}."
    own = {k.removeprefix(prefix): v for k, v in said.items() if k.startswith(prefix)} or said
    alpha = own.get("lora_alpha")
    patterns = own.get("alpha_pattern")
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        pattern = str(pattern).removeprefix("^")  # never run: it may be a stranger's
        if f".{name}".endswith(f".{pattern}"):
            alpha = value
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
        return None
    return float(alpha), own.get("use_rslora") is True
