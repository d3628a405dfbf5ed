"""A model by its name: a preset, a folder, a file or a repository of the Hub."""

from __future__ import annotations

import copyreg
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from sfumato.checkpoints.checkpoint import Checkpoint
from sfumato.checkpoints.hub import resolve
from sfumato.checkpoints.model import CUSTOM, Model
from sfumato.checkpoints.notes import looks_like_velocity
from sfumato.checkpoints.opening import open_checkpoint
from sfumato.presets import Preset, of_file
from sfumato.presets.families import Prediction


def open_model(
    name: str | os.PathLike[str],
    *,
    prediction: Prediction | None = None,
    offline: bool | None = None,
    decoder: str | os.PathLike[str] | None = None,
) -> Model:
    """A model by preset, folder, file or Hub repository; its networks are made when asked for.

    Args:
        name: see ``checkpoints.hub.resolve``.
        prediction: what the U-Net predicts, where the files do not say or are wrong. Where nobody
            says it, which happens with 2.x in a single file, its weights are looked at, and a
            warning says so.
        offline: never touch the network; default: as ``HF_HUB_OFFLINE`` says.
        decoder: the autoencoder in place of its own; see ``checkpoints.decoders.with_decoder``.
    """
    kinds = get_args(Prediction)
    if prediction not in (None, *kinds):
        must = f"`prediction` must be one of {', '.join(kinds)}"
        raise ValueError(f"{must}. Received: prediction={prediction!r}")
    path, preset, known_as = resolve(name, offline)
    preset = preset or of_file(path) or CUSTOM
    return open_path(path, preset, prediction, known_as, decoder, offline)


def open_path(
    path: Path,
    preset: Preset,
    prediction: Prediction | None,
    name: str,
    decoder: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
) -> Model:
    """The model at a path that is known; the arguments are ``Model``'s."""
    lora = path if preset.base else None
    if lora:
        path, below, _ = resolve(preset.base, offline)
        checkpoint = open_checkpoint(path, below and below.variant)
    else:
        checkpoint = open_checkpoint(path, preset.variant or None)
    is_known = preset != CUSTOM or prediction or checkpoint.prediction
    if not is_known and "unet" in checkpoint.parts:
        prediction = _likely_prediction(checkpoint)
    if preset.shares:
        base = open_model(preset.shares).checkpoint
        checkpoint = replace(
            checkpoint,
            parts=base.parts | checkpoint.parts,
            settings=base.settings | checkpoint.settings,
        )
    if decoder is not None:
        from sfumato.checkpoints.decoders import located, with_decoder

        decoder = located(decoder)
        checkpoint = with_decoder(checkpoint, decoder, offline)
    return Model(checkpoint, preset, prediction, name, decoder, lora)


def _likely_prediction(checkpoint: Checkpoint) -> Prediction:
    """What a U-Net predicts where nobody says it; warns, as a wrong guess is another picture."""
    is_velocity = looks_like_velocity(checkpoint.parts["unet"])
    found: Prediction = "v_prediction" if is_velocity else "epsilon"
    warnings.warn(
        f"`{checkpoint.path}` does not say what its U-Net predicts. By its weights it is {found}. "
        "If the picture is wrong, use prediction='epsilon' or 'v_prediction' (`--prediction` on "
        "the command line)",
        stacklevel=4,
    )
    return found


def _by_path(model: Model) -> tuple[Any, ...]:
    """A model as it is copied and pickled: by its path, not with the weights of its files."""
    path = (model.lora or model.checkpoint.path).absolute()
    given = (model.given_prediction, model.name, model.given_decoder)
    return open_path, (path, model.preset, *given)


copyreg.pickle(Model, _by_path)
