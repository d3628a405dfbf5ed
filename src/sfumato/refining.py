"""The model that does the last steps of pictures, opened when a request first names it."""

from __future__ import annotations

import numpy as np

from sfumato.checkpoints import Model, open_model
from sfumato.diffusion import training_sigmas
from sfumato.parts import Parts
from sfumato.request import RequestError


def refiner_of(parts: Parts, name: str) -> Parts:
    """The parts of the model of this name; the last one that was named is kept.

    Raises:
        RequestError: it does not go on where ``parts`` end.
    """
    with parts.lock:
        if parts.refiner is None or parts.refiner[0] != name:
            model = open_model(name)
            _check(model, parts.model)
            parts.refiner = name, Parts(model, parts.jit_compile, parts.dtype_policy)
        return parts.refiner[1]


def _check(model: Model, first: Model) -> None:
    """Refuse a model of other latents or other noise, or one that sees more than latents."""
    ours, theirs = first.autoencoder_config, model.autoencoder_config
    unet = model.checkpoint.unet_config()
    same = (unet.in_channels, unet.out_channels) == (ours.latent_channels,) * 2
    same &= type(ours) is not type(theirs) or ours == theirs
    if not same or "sigma_data" in {**first.noise, **model.noise}:
        must = f"be a model for the latents and the noise of {first.name}"
        raise RequestError.of("refiner", must, model.name)
    here, there = (training_sigmas(**each.noise) for each in (first, model))
    if here.shape != there.shape or not np.allclose(here, there):
        must = f"be a model of the same noise levels as {first.name}"
        raise RequestError.of("refiner", must, model.name)
