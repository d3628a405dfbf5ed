"""Reading and writing weights: diffusers folders, single files, KerasCV's .h5 files.

    checkpoint = open_checkpoint("sd-v1-5")
    unet = UNet(checkpoint.unet_config())
    fill(unet, checkpoint.parts["unet"])

No file can run code. Tensors are mapped, not read, and what describes them is read only if it has
no more than a few MB. Keras is imported when ``fill``, ``open_model`` or ``save_diffusers`` is
first touched; looking at files needs none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sfumato.checkpoints.checkpoint import Checkpoint, Prediction
from sfumato.checkpoints.opening import open_checkpoint
from sfumato.checkpoints.tensors import CheckpointError, Tensors

if TYPE_CHECKING:
    from sfumato.checkpoints.by_name import open_model
    from sfumato.checkpoints.filling import fill
    from sfumato.checkpoints.model import Model
    from sfumato.checkpoints.save import save_diffusers

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Model",
    "Prediction",
    "Tensors",
    "fill",
    "open_checkpoint",
    "open_model",
    "save_diffusers",
]

_HOMES = {"fill": "filling", "Model": "model", "open_model": "by_name", "save_diffusers": "save"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
