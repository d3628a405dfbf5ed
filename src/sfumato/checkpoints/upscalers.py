"""Upscalers from files: RRDBNet in the names of three programs, SRVGGNetCompact, and our own.

    network = read_upscaler("RealESRGAN_x4plus.pth")

Widths, blocks and the scale are read from the shapes of the tensors.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

from sfumato.checkpoints import nature
from sfumato.checkpoints.filling import fill
from sfumato.checkpoints.pickles import read_pickle
from sfumato.checkpoints.safetensors import read_safetensors
from sfumato.checkpoints.tensors import CheckpointError, rename
from sfumato.networks.network import Network
from sfumato.networks.upscalers import (
    RDN,
    RGB,
    CompactConfig,
    CompactNet,
    RDNConfig,
    RRDBConfig,
    RRDBNet,
)

MAX_SCALE = 8
MAX_TENSORS = 4096
"""Real-ESRGAN has 702."""

KNOWN = "RRDBNet (ESRGAN, Real-ESRGAN) and SRVGGNetCompact"

RENAMED = (
    (r"(module|netG)\.", ""),
    # ESRGAN of 2019
    (r"RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
    (r"trunk_conv\.", "conv_body."),
    (r"HRconv\.", "conv_hr."),
    # The first ESRGAN, in which most models of users are written
    (r"model\.0\.", "conv_first."),
    (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3."),
    (r"model\.1\.sub\.\d+\.(?=weight|bias)", "conv_body."),
)
"""The beginnings of names, and those of Real-ESRGAN, which are ours."""

Shapes = Mapping[str, tuple[int, ...]]


def read_upscaler(path: str | os.PathLike[str]) -> Network:
    """The network of a .pth, .pt, .ckpt, .bin or .safetensors file, with its weights, in float32.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, unsafe, or holds something else; says what.
    """
    path = Path(path)
    if path.suffix.lower() not in (".safetensors", *nature.PICKLES):
        endings = ", ".join((".safetensors", *nature.PICKLES))
        raise CheckpointError(f"An upscaler's file must end in {endings}. Received: {path}")
    is_pickle = path.suffix.lower() in nature.PICKLES
    tensors = read_pickle(path) if is_pickle else read_safetensors(path)
    try:
        native = rename(tensors, native_names([*tensors]).__getitem__)
        network = network_of({name: tensor.shape for name, tensor in native.items()}, [*tensors])
        fill(network, native)
    except CheckpointError as error:
        raise CheckpointError(f"`{path}`: {error}") from error
    return network


def native_names(names: list[str]) -> dict[str, str]:
    """The native name of each name in a file."""
    found = {name: _renamed(name) for name in names}
    # The first ESRGAN counts what comes after the body: 3, 6, ... enlarge, two more end it.
    count = re.compile(r"model\.(\d+)\.(weight|bias)")
    indices = [int(m[1]) for m in map(count.fullmatch, found.values()) if m]
    doublings = (max(indices, default=4) - 4) // 3
    tail = {3 * doublings + 2: "conv_hr", 3 * doublings + 4: "conv_last"}
    tail |= {3 * k + 3: f"conv_up.{k}" for k in range(doublings)}
    for name, native in found.items():
        if (m := count.fullmatch(native)) and int(m[1]) in tail:
            found[name] = f"{tail[int(m[1])]}.{m[2]}"
        # The others count from 1.
        elif m := re.fullmatch(r"(?:conv_up|upconv)(\d)\.(\w+)", native):
            found[name] = f"conv_up.{int(m[1]) - 1}.{m[2]}"
    return found


def _renamed(name: str) -> str:
    for pattern, native in RENAMED:
        name = re.sub(rf"\A{pattern}", native, name)
    return name


def network_of(shapes: Shapes, names: list[str]) -> Network:
    """The network with tensors of these shapes, by native name, without values.

    Args:
        names: the file's own, for errors.
    """
    makers = {
        "body.0.rdb1.conv1.weight": _rrdb,
        "body.0.weight": _compact,
        "shallow.0.weight": _rdn,
    }
    make = next((maker for name, maker in makers.items() if name in shapes), None)
    if make is None:
        what = nature.of_names(names)
        kind = " of another kind" if what == "an upscaler" else ""
        raise CheckpointError(f"it holds {what}{kind}; upscalers must be {KNOWN}.")
    if any(not 0 < size < 2**16 for shape in shapes.values() for size in shape):
        raise CheckpointError("a tensor has a shape that no layer has.")
    if len(shapes) > MAX_TENSORS:
        raise CheckpointError(f"it has {len(shapes)} tensors, more than {MAX_TENSORS}.")
    return make(shapes)


def _rrdb(shapes: Shapes) -> Network:
    width, pixels = _sides(shapes, "conv_first.weight")
    config = RRDBConfig(
        width=width,
        growth=_sides(shapes, "body.0.rdb1.conv1.weight")[0],
        blocks=_count(shapes, r"body\.(\d+)\."),
        doublings=_count(shapes, r"conv_up\.(\d+)\."),
        unshuffle=_root(pixels, "conv_first.weight"),
    )
    if not 1 <= config.scale <= MAX_SCALE:
        raise CheckpointError(f"it enlarges {config.scale} times, not from 1 to {MAX_SCALE}.")
    return RRDBNet(config, "float32")


def _compact(shapes: Shapes) -> Network:
    width, _ = _sides(shapes, "body.0.weight")
    last = _count(shapes, r"body\.(\d+)\.") - 1
    name = f"body.{last}.weight"
    scale = _root(_sides(shapes, name)[0], name)
    return CompactNet(CompactConfig(width, (last - 2) // 2, scale), "float32")


def _rdn(shapes: Shapes) -> Network:
    width, _ = _sides(shapes, "shallow.0.weight")
    config = RDNConfig(
        width=width,
        growth=_sides(shapes, "blocks.0.convs.0.weight")[0],
        blocks=_count(shapes, r"blocks\.(\d+)\."),
        layers=_count(shapes, r"blocks\.0\.convs\.(\d+)\."),
        scale=_root(_sides(shapes, "up.2.weight")[0], "up.2.weight"),
    )
    return RDN(config, "float32")


def _sides(shapes: Shapes, name: str) -> tuple[int, int]:
    """The outputs and inputs of a convolution."""
    shape = shapes.get(name, ())
    if len(shape) != 4:
        raise CheckpointError(f"`{name}` is not the weight of a convolution.")
    return shape[0], shape[1]


def _count(shapes: Shapes, pattern: str) -> int:
    """The layers of a list, all of which the names have."""
    return len({m[1] for name in shapes if (m := re.match(pattern, name))})


def _root(channels: int, name: str) -> int:
    """The pixels of a side that a layer has as channels of three colours."""
    side = math.isqrt(channels // RGB)
    if channels != RGB * side**2 or not 1 <= side <= MAX_SCALE:
        raise CheckpointError(f"`{name}` has {channels} channels, which are no pixels of RGB.")
    return side
