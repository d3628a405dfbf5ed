"""Networks of adapters: of which files they are, for which U-Net, and with which weights."""

from __future__ import annotations

from pathlib import Path

import keras

from sfumato.checkpoints.filling import fill
from sfumato.checkpoints.tensors import CheckpointError, Tensors
from sfumato.finite import unsound_weight
from sfumato.networks.configs import UNetConfig
from sfumato.parts import Parts
from sfumato.request import RequestError

States = tuple[tuple[str, int, int], ...]
"""Files with their times and sizes."""


def states_of(*paths: Path) -> States:
    """The files of these paths, each with its time and size."""
    files = [sorted(path.iterdir()) if path.is_dir() else [path] for path in paths]
    found = ((str(file), file.stat()) for each in files for file in each)
    return tuple((name, state.st_mtime_ns, state.st_size) for name, state in found)


def unet_for(parts: Parts, field: str) -> UNetConfig:
    """The architecture that adapters are for; RequestError of a field if it is none of ours."""
    base = getattr(parts.diffusion_model, "config", None)
    if not isinstance(base, UNetConfig):
        must = "be left out for a denoiser that is no U-Net of Stable Diffusion"
        raise RequestError(field, must, type(parts.diffusion_model).__name__)
    return base


def give_weights(network: keras.Model, tensors: Tensors, file: str | Path, what: str) -> None:
    """Fill a network from a file.

    Raises:
        CheckpointError: the file is no ``what``, or a weight is not finite.
    """
    try:
        fill(network, tensors)
    except CheckpointError as error:
        raise CheckpointError(f"`{file}` is no {what}. {error}") from error
    if weight := unsound_weight(network):
        raise CheckpointError(f"The weight `{weight[0]}` of `{file}` is {weight[1]}.")
