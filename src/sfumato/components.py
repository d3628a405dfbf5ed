"""A model's networks and programs, loaded and compiled when they are first touched."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import keras

from sfumato import checkpoints, programs, runtime
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet
from sfumato.options import check_size
from sfumato.text.tokenizer import Tokenizer


class Components:
    """The parts of a pipeline; ``StableDiffusion`` describes the arguments."""

    default_preset = "sd1.4"

    def __init__(
        self,
        img_height: int = 512,
        img_width: int = 512,
        jit_compile: bool = True,
        *,
        preset: str | checkpoints.Model | None = None,
        dtype: Any = None,
        prediction: checkpoints.Prediction | None = None,
    ) -> None:
        check_size(img_height, img_width, 8)
        if not isinstance(preset, checkpoints.Model):
            preset = checkpoints.open_model(preset or self.default_preset, prediction=prediction)
        self.checkpoint = preset
        self.img_height = img_height
        self.img_width = img_width
        self.jit_compile = jit_compile
        self.dtype_policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        self.last_seed: int | None = None

    # The networks, loaded when first touched

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer("tokenizer", self.checkpoint.pad_tokens[0])

    @cached_property
    def tokenizer_2(self) -> Tokenizer:
        """XL's tokenizer for its second text encoder: the same words, another padding."""
        return self._tokenizer("tokenizer_2", self.checkpoint.pad_tokens[-1])

    def _tokenizer(self, part: str, pad_token: int) -> Tokenizer:
        """CLIP's own, unless the model's folder adds tokens to it (textual inversion)."""
        folder = self.checkpoint.checkpoint.path / part
        if (folder / "added_tokens.json").exists():
            return Tokenizer.from_folder(folder)
        return Tokenizer(pad_token)

    @cached_property
    def text_encoder(self) -> TextEncoder:
        return self.checkpoint.text_encoder(self.dtype_policy)

    @cached_property
    def text_encoder_2(self) -> TextEncoder | None:
        """XL's second text encoder."""
        return self.checkpoint.text_encoder_2(self.dtype_policy)

    @cached_property
    def diffusion_model(self) -> UNet:
        return self.checkpoint.unet(self.dtype_policy)

    @cached_property
    def decoder(self) -> ImageDecoder:
        return self.checkpoint.decoder(self._autoencoder_policy)

    @cached_property
    def image_encoder(self) -> ImageEncoder:
        return self.checkpoint.image_encoder(self._autoencoder_policy)

    @property
    def _autoencoder_policy(self) -> Any:
        """XL's autoencoder overflows in float16."""
        overflows = self.checkpoint.autoencoder_config.scaling_factor == 0.13025
        half = self.dtype_policy.compute_dtype == "float16"
        return "float32" if overflows and half else self.dtype_policy

    # The programs, compiled when first run

    @cached_property
    def _encode_text(self) -> runtime.Program:
        encoders = [e for e in (self.text_encoder, self.text_encoder_2) if e is not None]
        return self._compile(programs.encode_text, encoders, encoders)

    @cached_property
    def _condition(self) -> runtime.Program:
        return self._compile(programs.condition, self.diffusion_model, [self.diffusion_model])

    @cached_property
    def _step(self) -> runtime.Program:
        return self._compile(programs.step, self.diffusion_model, [self.diffusion_model])

    def _step_for(self, keep: bool, token_merging: float) -> Callable[..., Any]:
        """``_step`` that keeps features or merges tokens."""
        ways = {"keep": keep, "token_merging": token_merging}
        return partial(self._step, **{name: way for name, way in ways.items() if way})

    @cached_property
    def _decode(self) -> runtime.Program:
        return self._compile(programs.decode, self.decoder, [self.decoder])

    @cached_property
    def _encode_picture(self) -> runtime.Program:
        return self._compile(programs.encode, self.image_encoder, [self.image_encoder])

    def _compile(self, function: Any, network: Any, networks: list[Any]) -> runtime.Program:
        return runtime.compile(partial(function, network), networks, self.jit_compile)
