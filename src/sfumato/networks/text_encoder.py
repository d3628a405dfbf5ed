"""The CLIP text transformer (Radford et al. 2021, arXiv 2103.00020): CLIP-L, OpenCLIP-H, bigG."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from sfumato import kernels
from sfumato.kernels import Tensor
from sfumato.networks.clip import Layers
from sfumato.networks.configs import TextEncoderConfig
from sfumato.networks.layers import layer_norm, linear, sized
from sfumato.networks.network import Block, Network, keys


class LearnedRows(NamedTuple):
    """Vectors that come from elsewhere, in place of those of tokens."""

    places: Tensor  # (B, T, 1) bool
    rows: Tensor  # (B, T, C)


class Embeddings(Block):
    def __init__(self, c: TextEncoderConfig) -> None:
        super().__init__()
        self.token_embedding = sized(keras.layers.Embedding(c.vocabulary, c.width), None)
        self.position_embedding = sized(keras.layers.Embedding(c.length, c.width), None)

    def call(self, tokens: Tensor, learned: LearnedRows | None = None) -> Tensor:
        T = tokens.shape[1]
        x = self.token_embedding(tokens)  # (B, T, C)
        if learned is not None:
            x = ops.where(learned.places, ops.cast(learned.rows, x.dtype), x)
        return x + self.position_embedding(ops.arange(T)[None])


@keras.saving.register_keras_serializable("sfumato")
class TextEncoder(Network):
    """tokens (B, T) int -> one vector for each, (B, T, C): what the denoiser attends to."""

    config: TextEncoderConfig

    def compose(self, config: TextEncoderConfig) -> None:
        self.embeddings = Embeddings(config)
        self.encoder = Layers(config, causal=True)
        self.final_layer_norm = layer_norm(config.width)
        if config.projection:
            self.text_projection = linear(config.width, config.projection, bias=False)

    def grown(self, rows: np.ndarray) -> TextEncoder:
        """The same encoder with embeddings for more tokens: rows (n, C)."""
        vocabulary = self.config.vocabulary + len(rows)
        network = TextEncoder(
            replace(self.config, vocabulary=vocabulary), self.dtype_policy.name, self.name
        )
        values = keys(self)
        for key, variable in keys(network).items():
            value = kernels.read(values[key]).astype(variable.dtype)
            if key == "embeddings.token_embedding.weight":
                value = np.concatenate([value, np.asarray(rows, value.dtype)])
            kernels.store(variable, value)
        return network

    def encode(
        self, tokens: Tensor, clip_skip: int = 1, learned: LearnedRows | None = None
    ) -> tuple[Tensor, Tensor]:
        """The context (B, T, C) and the pooled embedding (B, P) of the first end-of-text token.

        ``clip_skip`` is the layer that counts as the last one, from the end: 1 is the last.
        ``learned`` has vectors in place of the tokens' own.
        """
        x = self.embeddings(tokens, learned)  # (B, T, C)
        before_last = x
        layers = self.encoder.layers
        for layer in layers[: len(layers) + 1 - clip_skip]:
            before_last, x = x, layer(x)
        x = self.final_layer_norm(x)

        ends = ops.argmax(ops.cast(tokens == self.config.end_of_text, "int32"), axis=1)
        pooled = ops.squeeze(ops.take_along_axis(x, ends[:, None, None], axis=1), axis=1)  # (B, C)
        if self.config.projection:
            pooled = self.text_projection(pooled)
        return before_last if self.config.penultimate else x, pooled

    def call(self, inputs: Any) -> Tensor:
        """``inputs``: the tokens, or a dict with ``tokens`` as the predecessor took it."""
        return self.encode(inputs["tokens"] if isinstance(inputs, dict) else inputs)[0]
