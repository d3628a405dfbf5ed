"""A LoRA's file, of any dialect, as updates of a model's weights by their native names."""

from __future__ import annotations

import json
import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sfumato.adapters import dialects
from sfumato.adapters.names import Layer, Networks, family_of
from sfumato.adapters.updates import Update, formula_for
from sfumato.checkpoints import nature
from sfumato.checkpoints.pickles import read_content, state_of
from sfumato.checkpoints.safetensors import read_metadata, read_safetensors
from sfumato.checkpoints.tensors import CheckpointError, Tensors, listing

SETTINGS = "lora_adapter_metadata"  # of PEFT, in the header of a file that diffusers wrote
TEXT_KEY = re.compile(r"(lora_te2_|text_encoder_2\.|text_encoders\.clip_g\.)")
ATTENTION = re.compile(r".*attn2[._]to_k")
OTHERS = (
    (r"lllite_unet_", "a ControlNet-LLLite, no LoRA"),
    (r"lora_controlnet$", "a Control-LoRA, which is a ControlNet"),
    (r"lora_prior_", "a LoRA for Stable Cascade"),
    (
        (
            r"(base_model\.model\.|diffusion_model\.|lora_(unet_)?)?"
            r"(transformer[._](?!text_model)|((double|single|joint)_(transformer_)?)blocks)"
        ),
        "a LoRA for a diffusion transformer (Stable Diffusion 3, Flux or kin)",
    ),
)
"""Names of tensors of adapters for other models, and what these files are."""


@dataclass(frozen=True)
class Lora:
    """A LoRA for one model. Its tensors are views of the mapped file."""

    path: Path
    updates: Mapping[str, Mapping[str, Update]]
    """Part of the checkpoint -> native name of a tensor -> its update."""
    words: Mapping[str, Tensors]
    """Textual inversions in the file: a word -> text encoder -> vectors (n, C)."""
    unused: tuple[str, ...] = ()
    """The keys of the file that change nothing."""


def read_lora(path: str | os.PathLike[str], networks: Networks) -> Lora:
    """Read a LoRA of any dialect for a model.

    Args:
        path: .safetensors, or a pickle of PyTorch, which is read without running it.
        networks: the configurations of the model's networks.

    Raises:
        CheckpointError: the file is damaged, no LoRA, made for another family, has an update of an
            unknown kind or of shapes that do not fit, or numbers that are not finite.

    Warns:
        UserWarning: keys of the file are of no layer of the model; lists them.
    """
    path = Path(path)
    tensors, header = _load(path, networks)
    said = _settings(path, header)
    words = {
        word: {part: np.atleast_2d(rows) for part, rows in parts.items()}
        for word, parts in dialects.take_words(tensors).items()
    }
    modules, unused = dialects.sort(tensors, networks)
    _check_family(path, modules, tensors, networks)

    updates: dict[str, dict[str, Update]] = {}
    misfits: list[str] = []
    unknown = [*unused]
    for name, parameters in modules.items():
        layer = networks.find(name)
        if layer is None or not layer.is_used:
            unused += parameters.values()
            unknown += parameters.values() if layer is None else ()
            continue
        factors = {parameter: tensors[key] for parameter, key in parameters.items()}
        if (found := _updates(layer, factors, name, said)) is None:
            shapes = ", ".join(f"{n} {x.shape}" for n, x in factors.items())
            misfits.append(f"{name} ({shapes}) for {layer.shape}")
        else:
            updates.setdefault(layer.part, {}).update(found)
    if misfits:
        raise CheckpointError(
            f"The LoRA `{path}` does not fit the model, or is of an unknown kind: "
            f"{listing(misfits, 4)}"
        )
    if not updates and not words:
        raise CheckpointError(f"`{path}` holds no LoRA for this model, but {_nature(tensors)}.")
    _check_finite(path, tensors, unused)
    if unknown:
        warnings.warn(
            f"Keys of the LoRA `{path}` are of no layer of the model and not used: "
            f"{listing(unknown)}",
            stacklevel=2,
        )
    return Lora(path, updates, words, tuple(unused))


def _load(path: Path, networks: Networks) -> tuple[Tensors, Mapping[str, str]]:
    """The tensors of a file, and the texts in its header."""
    ending = path.suffix.lower()
    if ending == ".safetensors":
        return read_safetensors(path), read_metadata(path)
    if ending not in nature.PICKLES:
        raise CheckpointError(
            f"A LoRA must end in .safetensors, {', '.join(nature.PICKLES)}. Received: path={path}"
        )
    content = read_content(path)
    if isinstance(content, list) and content and all(isinstance(x, np.ndarray) for x in content):
        return dialects.named(content, networks), {}
    return state_of(path, content), {}


def _settings(path: Path, header: Mapping[str, str]) -> Mapping[str, object]:
    """PEFT's settings: in the header, or in the JSON file next to PEFT's weights."""
    text = header.get(SETTINGS, "")
    config = path.with_name("adapter_config.json")
    if not text and path.stem == "adapter_model" and config.is_file():
        text = config.read_text("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        if isinstance(said := json.loads(text or "{}"), dict):
            return said
    raise CheckpointError(f"The settings of the LoRA `{path}` must be an object of JSON.")


def _updates(
    layer: Layer, factors: Tensors, name: str, said: Mapping[str, object]
) -> dict[str, Update] | None:
    """The updates of a layer's tensors by native name; None: the factors do not fit it."""
    rest = {**factors}
    numbers = {key: rest.pop(key) for key in ("alpha", "scale") if key in rest}
    biases = {key: rest.pop(key) for key in ("diff_b", "b_norm", "bias") if key in rest}
    magnitude = rest.pop("dora_scale", None)
    if (peft := rest.pop("magnitude", None)) is not None:  # always of the rows
        magnitude = peft.reshape(-1, *(1,) * (len(layer.shape) - 1))
    if any(x.size != 1 for x in numbers.values()) or not _fits_magnitude(magnitude, layer.shape):
        return None
    given = {key: float(x.item()) for key, x in numbers.items()}
    found: dict[str, Update] = {}

    factor = 1.0
    if rest:
        shaping = _named(rest, given.get("alpha", 0) * layer.shape[0])
        if (formula := formula_for(shaping, layer.shape)) is None:
            return None
        if formula.rank:
            rank = shaping[formula.rank[0]].shape[formula.rank[1]]
            factor = _scale(rank, given, dialects.alphas(said, layer.part, name))
        found[f"{layer.name}.weight"] = Update(formula, shaping, layer.shape, factor, magnitude)

    for key, bias in biases.items():
        formula = formula_for({key: bias}, layer.shape[:1])
        if formula is None or not layer.has_bias or len(biases) > 1:
            return None
        scale = factor if key == "bias" else 1.0  # PEFT's belongs to up
        found[f"{layer.name}.bias"] = Update(formula, {key: bias}, layer.shape[:1], scale)
    return found or None


def _named(factors: Tensors, limit: float) -> Tensors:
    """The factors as formulas name them.

    Args:
        factors: of a layer's weight.
        limit: alpha times the outputs; of rotations that is a limit, no scale.
    """
    side = factors.get("on_input")
    if side is not None and side.size == 1:
        rest = {key: x for key, x in factors.items() if key != "on_input"}
        return rest | {"on_i" if side.item() else "on_o": side}
    if "oft_blocks" in factors:
        return factors | {"constraint": np.array(limit, "float32")}
    return factors


def _fits_magnitude(magnitude: np.ndarray | None, shape: tuple[int, ...]) -> bool:
    """Whether DoRA's lengths are of the rows of a weight, (O, ...), or of its columns, (1, I)."""
    if magnitude is None:
        return True
    of_rows = magnitude.shape[:1] == (magnitude.size,) == shape[:1]
    of_columns = magnitude.shape[:2] == (1, magnitude.size) == (1, *shape[1:2])
    return len(shape) > 1 and (of_rows or of_columns)


def _scale(rank: int, given: Mapping[str, float], said: tuple[float, bool] | None) -> float:
    """The factor of a change: alpha / rank, or what stands in its place; 1 if nothing is said."""
    if "scale" in given:
        return given["scale"]
    if "alpha" in given:
        return given["alpha"] / rank
    if said is not None:
        return said[0] / (math.sqrt(rank) if said[1] else rank)
    return 1.0


def _check_family(
    path: Path, modules: dialects.Modules, tensors: Tensors, networks: Networks
) -> None:
    """Refuse a LoRA of another family, which its attention to the text tells, by name."""
    own = networks.unet.context_width
    for name, parameters in modules.items():
        if ATTENTION.fullmatch(name):
            width = _inputs({parameter: tensors[key] for parameter, key in parameters.items()})
            made_for = None if width in (None, own) else family_of(width)
            if made_for:
                kind = made_for.name
                break
        if TEXT_KEY.match(name) and networks.text_encoder_2 is None and networks.text_encoder:
            kind = "XL"
            break
    else:
        return
    mine = networks.family.name if networks.family else f"one that reads texts of width {own}"
    raise CheckpointError(
        f"The LoRA `{path}` is made for models of the kind {kind}, and the model is {mine}."
    )


def _inputs(factors: Tensors) -> int | None:
    """The number of a layer's inputs as the factors have it; None: they do not say."""
    for name in ("lora_down", "hada_w1_b", "diff"):
        if name in factors and factors[name].ndim > 1:
            return factors[name].shape[1]
    sides = [factors.get(x, factors.get(f"{x}_b")) for x in ("lokr_w1", "lokr_w2")]
    if all(x is not None and x.ndim > 1 for x in sides):
        return math.prod(x.shape[1] for x in sides if x is not None)
    return None


def _check_finite(path: Path, tensors: Tensors, unused: list[str]) -> None:
    left_out = {*unused}
    if bad := [*_not_finite({k: v for k, v in tensors.items() if k not in left_out})]:
        raise CheckpointError(
            f"The LoRA `{path}` has numbers that are not finite in {listing(bad)}"
        )


def _not_finite(tensors: Tensors) -> Iterator[str]:
    for key, tensor in tensors.items():
        if not np.isfinite(tensor.astype("float32", copy=False)).all():
            yield key


def _nature(tensors: Tensors) -> str:
    for pattern, what in OTHERS:
        if any(re.match(pattern, name) for name in tensors):
            return what
    found = nature.of_names(tensors)
    return "one for another" if found.startswith("a LoRA") else found
