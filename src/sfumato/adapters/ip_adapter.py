"""An IP-Adapter's file: of the authors' names, or of those that diffusers gives its parts."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from sfumato.checkpoints import nature
from sfumato.checkpoints.architecture import Shapes, count_of, shape_of, shapes_of
from sfumato.checkpoints.pickles import read_content
from sfumato.checkpoints.safetensors import read_safetensors
from sfumato.checkpoints.tensors import CheckpointError, Tensors, rename
from sfumato.checkpoints.vision import VisionFile, read_vision
from sfumato.networks.configs import UNetConfig
from sfumato.networks.ip_adapter import HEAD, IPAdapterConfig
from sfumato.presets.families import FAMILIES, find_family

PROJECTION = "image_proj."
SIDES = ("down", "up", "mid")
"""The order in which a file numbers the layers of a U-Net."""
FACES = 512
"""Numbers by which InsightFace knows a face."""
OTHERS = (
    (r"ip_adapter\.\d+\.\w+_lora\.|image_proj\.perceiver_resampler\.", "an IP-Adapter FaceID"),
    (r"ip_adapter_proj_model\.|(double|single)_blocks\.", "an IP-Adapter for Flux"),
)
"""Names of tensors of other adapters, and what their files are."""
RENAMED = tuple(
    (re.compile(old), new)
    for old, new in (
        (r"encoder_hid_proj\.image_projection_layers\.0\.", PROJECTION),
        (r"image_proj\.latents$", "image_proj.latent_embedding.weight"),
        # The authors' numbers
        (r"(image_proj\.layers\.\d+)\.0\.", r"\1.attn."),
        (r"(image_proj\.layers\.\d+)\.1\.", r"\1.ff."),
        # diffusers' names
        (r"image_proj\.image_embeds\.", "image_proj.proj."),
        (r"image_proj\.ff\.net\.0\.proj\.", "image_proj.proj.0."),
        (r"image_proj\.ff\.net\.2\.", "image_proj.proj.2."),
        (r"(image_proj\.layers\.\d+)\.ln0\.", r"\1.attn.norm1."),
        (r"(image_proj\.layers\.\d+)\.ln1\.", r"\1.attn.norm2."),
        (r"(image_proj\.layers\.\d+)\.attn\.to_out\.0\.", r"\1.attn.to_out."),
        (r"(image_proj\.layers\.\d+)\.ff\.1\.net\.0\.proj\.", r"\1.ff.1."),
        (r"(image_proj\.layers\.\d+)\.ff\.1\.net\.2\.", r"\1.ff.3."),
    )
)
ENCODERS = tuple(
    f"{folder}image_encoder" for folder in ("", "../", "../models/", "../sdxl_models/")
)
"""The places of the encoder of pictures in published folders, as the adapter's file sees them."""
SEEN_BY = {
    ("base", 768): "CLIP's ViT-L/14",
    ("base", 1024): "OpenCLIP's ViT-H/14",
    ("base", 1280): "OpenCLIP's ViT-bigG/14",
    ("plus", 1024): "CLIP's ViT-L/14",
    ("plus", 1280): "OpenCLIP's ViT-H/14",
    ("plus", 1664): "OpenCLIP's ViT-bigG/14",
}
"""The encoders by the width of what an adapter reads."""


def read_ip_adapter(
    path: str | os.PathLike[str], base: UNetConfig
) -> tuple[IPAdapterConfig, Tensors]:
    """The configuration and the tensors, by our names, of an IP-Adapter for a U-Net.

    Args:
        path: .safetensors, or a pickle of PyTorch, which is read without running it.
        base: the configuration of the U-Net.

    Raises:
        CheckpointError: the file is damaged, no IP-Adapter, made for models of another family, or
            of a kind that is not computed, such as FaceID.
    """
    path = Path(path)
    tensors = _load(path)
    what = next((w for p, w in OTHERS if any(re.match(p, name) for name in tensors)), None)
    if what or not any(name.startswith((PROJECTION, "encoder_hid_proj.")) for name in tensors):
        raise _refusal(path, what or nature.of_names(tensors))
    tensors = _native(tensors, base)
    try:
        config = _config(path, shapes_of(tensors), base)
    except (IndexError, ValueError, ZeroDivisionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"`{path}` is no sound IP-Adapter: {error}") from error
    _check_family(path, config, base)
    return config, tensors


def find_encoder(
    path: str | os.PathLike[str], config: IPAdapterConfig, given: str | None = None
) -> tuple[Path, VisionFile]:
    """The encoder of pictures for an IP-Adapter, and its place: the one given, or one that fits.

    Raises:
        CheckpointError: none is there, or none fits.
    """
    places = encoder_places(path, given)
    files = [read_vision(place) for place in places]
    for place, file in zip(places, files, strict=True):
        if config.features == _width(config, file):
            return place, file
    is_base = config.kind == "base"
    name = SEEN_BY.get(("base" if is_base else "plus", config.features), "an encoder")
    wanted = "`encoder`" if given else f"`{Path(path).parent / ENCODERS[0]}`"
    what = "a projection" if is_base else "layers"
    found = [f"`{p}` with {_width(config, f)}" for p, f in zip(places, files, strict=True)]
    raise CheckpointError(
        f"{wanted} must be the encoder of pictures that the IP-Adapter `{path}` was trained with, "
        f"{name}, with {what} of width {config.features}. Received: {', '.join(found) or 'none'}"
    )


def encoder_places(path: str | os.PathLike[str], given: str | None = None) -> list[Path]:
    """The files and folders where the encoder of pictures for an IP-Adapter may be."""
    places = [Path(given)] if given else [Path(path).parent / each for each in ENCODERS]
    return [place for place in places if place.exists()]


def _width(config: IPAdapterConfig, file: VisionFile) -> int:
    """The width of what an adapter of this kind reads of an encoder."""
    return file.config.projection if config.kind == "base" else file.config.width


def _refusal(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"`{path}` holds {what}, which cannot be used as an IP-Adapter.")


def _load(path: Path) -> Tensors:
    ending = path.suffix.lower()
    if ending == ".safetensors":
        return read_safetensors(path)
    if ending not in nature.PICKLES:
        endings = f".safetensors, {', '.join(nature.PICKLES)}"
        raise CheckpointError(f"An IP-Adapter must end in {endings}. Received: path={path}")
    content = read_content(path)
    groups = content.items() if isinstance(content, dict) else ()
    found: Tensors = {}
    for group, inner in groups:  # tensors, or groups of them
        each = inner.items() if isinstance(inner, dict) else [(None, inner)]
        named = {group if name is None else f"{group}.{name}": value for name, value in each}
        if wrong := [name for name, value in named.items() if type(value) is not np.ndarray]:
            raise CheckpointError(f"`{path}` holds `{wrong[0]}`, which is no tensor.")
        found |= named
    return found


def _numbered(base: UNetConfig) -> dict[str, tuple[int, int, int]]:
    """Each cross-attention layer by name, as the data passes them.

    It has the number of the layer in a file, its width and its heads.
    """
    parts = [part for part in base.parts() if part.kind == "attentions"]
    layers = [(f"{p.name}.transformer_blocks.{i}.attn2", p) for p in parts for i in range(p.depth)]
    in_file = [name for side in SIDES for name, part in layers if part.level.startswith(side)]
    numbers = {name: 2 * i + 1 for i, name in enumerate(in_file)}  # even: self-attention
    return {name: (numbers[name], part.width, part.heads) for name, part in layers}


def _native(tensors: Tensors, base: UNetConfig) -> Tensors:
    """The tensors by our names."""
    numbers = _numbered(base)

    def native(name: str) -> str:
        name = name.removeprefix("unet.")
        layer, _, leaf = name.partition(".processor.")
        if leaf in ("to_k_ip.0.weight", "to_v_ip.0.weight") and layer in numbers:
            return f"ip_adapter.{numbers[layer][0]}.{leaf.replace('.0.', '.')}"
        for old, new in RENAMED:
            name = old.sub(new, name)
        return name

    return _joined(rename(tensors, native))


def _joined(tensors: Tensors) -> Tensors:
    """The tensors as our layers have them: keys and values in one, latents without a batch."""
    found = {**tensors}
    for name in [name for name in found if name.endswith(".attn.to_k.weight")]:  # diffusers'
        value = name.replace("to_k", "to_v")
        if value in found and found[name].shape == found[value].shape:
            both = found.pop(name), found.pop(value)
            found[name.replace("to_k", "to_kv")] = np.concatenate(both)
    latents = f"{PROJECTION}latent_embedding.weight"
    if latents in found and found[latents].shape[:1] == (1,):
        found[latents] = found[latents][0]
    second, norm = (found.get(PROJECTION + name) for name in ("proj.2.weight", "norm.weight"))
    if second is not None and norm is not None and second.shape[:1] == norm.shape:
        # diffusers' full one; a FaceID makes several vectors, whose norm is narrower
        return {
            re.sub(r"^image_proj\.norm\.", "image_proj.proj.3.", k): v for k, v in found.items()
        }
    return found


def _config(path: Path, shapes: Shapes, base: UNetConfig) -> IPAdapterConfig:
    """The IP-Adapter with tensors of these shapes."""

    def matrix(name: str) -> tuple[int, int]:
        rows, columns = shape_of(shapes, PROJECTION + name)
        return rows, columns

    layers = tuple(_numbered(base).values())
    if f"{PROJECTION}proj.weight" in shapes:
        rows, features = matrix("proj.weight")
        (width,) = shape_of(shapes, f"{PROJECTION}norm.weight")
        return IPAdapterConfig("base", features, rows // width, width, layers)
    if f"{PROJECTION}proj.3.weight" in shapes:
        features, width = matrix("proj.0.weight")[1], matrix("proj.2.weight")[0]
        return IPAdapterConfig("full", features, 0, width, layers)
    if f"{PROJECTION}norm.weight" in shapes:
        raise _refusal(path, "an IP-Adapter FaceID")
    tokens, width = matrix("latent_embedding.weight")
    features = matrix("proj_in.weight")[1]
    if features == FACES:
        raise _refusal(path, "an adapter of faces, such as InstantID,")
    heads = matrix("layers.0.attn.to_q.weight")[0] // HEAD
    if not heads * tokens:
        raise ValueError(f"its resampler has {heads} heads and {tokens} vectors")
    return IPAdapterConfig(
        *("plus", features, tokens, matrix("proj_out.weight")[0], layers, width, heads),
        depth=count_of(shapes, f"{PROJECTION}layers."),
        mlp_width=matrix("layers.0.ff.1.weight")[0],
    )


def _check_family(path: Path, config: IPAdapterConfig, base: UNetConfig) -> None:
    """Refuse an IP-Adapter of another family, which the width of its texts tells, by name."""
    width = config.context_width
    if width == base.context_width:
        return
    made_for = next((f.name for f in FAMILIES if width == f.context_width), "unknown")
    mine = find_family(base.context_width, base.added_width > 0).name
    raise CheckpointError(
        f"The IP-Adapter `{path}` is made for models of the kind {made_for}, and the model is "
        f"{mine}, which reads texts of width {base.context_width}. Received: width {width}"
    )
