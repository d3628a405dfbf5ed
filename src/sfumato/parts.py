"""A model's networks and programs, loaded and compiled when they are first touched."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import keras

from sfumato import programs, runtime
from sfumato.checkpoints import Model
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet
from sfumato.text.tokenizer import Tokenizer


class Parts:
    """The parts of one loaded model, each of which may be replaced by assignment.

    Args:
        model: the checkpoint and its settings.
        jit_compile: compile each program whole (XLA; under torch, inductor).
        dtype: a dtype or a Keras dtype policy; default: the global policy.
    """

    def __init__(self, model: Model, jit_compile: bool = True, dtype: Any = None) -> None:
        self.model = model
        self.jit_compile = jit_compile
        self.dtype_policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())

    def require(self, name: str) -> None:
        """Raise a CheckpointError if a part is neither loaded nor in the model's files."""
        if name not in vars(self):
            self.model.checkpoint.shapes(name)

    # Networks

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer("tokenizer", self.model.pad_tokens[0])

    @cached_property
    def tokenizer_2(self) -> Tokenizer:
        """XL's tokenizer for its second text encoder: the same words, another padding."""
        return self._tokenizer("tokenizer_2", self.model.pad_tokens[-1])

    def _tokenizer(self, part: str, pad_token: int) -> Tokenizer:
        """The folder's, or CLIP's own where the model has none; its words must have embeddings."""
        tokenizer = Tokenizer.from_folder(self.model.checkpoint.path / part, pad_token)
        encoder = part.replace("tokenizer", "text_encoder")
        self.model.check_words(encoder, len(tokenizer))
        return tokenizer

    @cached_property
    def text_encoder(self) -> TextEncoder:
        return self.model.text_encoder(self.dtype_policy)

    @cached_property
    def text_encoder_2(self) -> TextEncoder | None:
        """XL's second text encoder."""
        return self.model.text_encoder_2(self.dtype_policy)

    @cached_property
    def diffusion_model(self) -> UNet:
        return self.model.unet(self.dtype_policy)

    @cached_property
    def decoder(self) -> ImageDecoder:
        return self.model.decoder(self._autoencoder_policy)

    @cached_property
    def image_encoder(self) -> ImageEncoder:
        return self.model.image_encoder(self._autoencoder_policy)

    @property
    def _autoencoder_policy(self) -> Any:
        is_half = self.dtype_policy.compute_dtype == "float16"
        overflows = self.model.family.overflows_in_float16
        return "float32" if is_half and overflows else self.dtype_policy

    # Programs

    @cached_property
    def encode_text(self) -> runtime.Program:
        encoders = [e for e in (self.text_encoder, self.text_encoder_2) if e is not None]
        return self.compile(programs.encode_text, encoders)

    @cached_property
    def prepare(self) -> runtime.Program:
        return self.compile(UNet.prepare, self.diffusion_model)

    @cached_property
    def evaluate(self) -> runtime.Program:
        """The one program of the denoising loop."""
        return self.compile(programs.evaluate, self.diffusion_model)

    @cached_property
    def decode(self) -> runtime.Program:
        return self.compile(programs.decode, self.decoder)

    @cached_property
    def encode_picture(self) -> runtime.Program:
        return self.compile(programs.encode_picture, self.image_encoder)

    def compile(self, function: Callable[..., Any], network: Any) -> runtime.Program:
        """A function of a network, or of several, and arrays as a program of the arrays."""
        networks = network if isinstance(network, list) else [network]
        return runtime.compile(partial(function, network), networks, self.jit_compile)
