"""Stage 3, first part: teach the text encoder what captions look like, before any denoising.

The last token's vector has to give, through one matrix, the latents of the caption's picture: the
mean of all pictures that the caption could mean. This costs a thirtieth of a step of the denoiser
and spares it the slow part of its training, in which words mean nothing yet.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from recipes.mini.config import Configuration
from recipes.mini.pool import Pool
from recipes.mini.steps import Random
from recipes.mini.training import Trainer
from sfumato.networks.text_encoder import TextEncoder

Tensor = Any


def objective(text_encoder: TextEncoder, head: keras.layers.Layer) -> Callable:
    """(latents (B, h, w, C), tokens (B, T)) -> the loss and its parts."""

    def loss(latents: Tensor, tokens: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        guessed = head(text_encoder(tokens)[:, -1])  # the last token has seen all others
        error = ops.mean(ops.square(guessed - ops.reshape(latents, ops.shape(guessed))))
        return error, {"error": error}

    return loss


def teach(
    text_encoder: TextEncoder,
    pool: Pool,
    shape: tuple[int, ...],
    config: Configuration,
    folder: Path,
) -> None:
    """Train the text encoder from the last checkpoint on; the matrix is thrown away.

    ``pool`` has latents, each of ``shape`` (h, w, C), and tokens.
    """
    head = keras.layers.Dense(int(np.prod(shape)))
    head.build((None, text_encoder.config.width))
    networks = {"text_encoder": text_encoder, "head": head}
    loss = objective(text_encoder, head)
    trainer = Trainer(networks, draw, loss, config.words_training, folder)
    trainer.restore()
    trainer.fit(pool)


def draw(random: Random, latents: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The arguments of the loss: nothing is random but the choice of the samples."""
    return ops.cast(latents, "float32"), tokens
