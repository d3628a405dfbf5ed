"""A model: a checkpoint, the settings that suit it, and its networks on demand."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sfumato.checkpoints.checkpoint import Checkpoint, Prediction, open_checkpoint
from sfumato.checkpoints.filling import fill
from sfumato.checkpoints.folders import read_json
from sfumato.checkpoints.hub import resolve
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.configs import AutoencoderConfig
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet
from sfumato.presets import Preset

END_OF_TEXT = 49407
CUSTOM = Preset("", "A model of no preset", variant="")


@dataclass(frozen=True)
class Model:
    """What ``StableDiffusion`` needs to know of a model; networks are made when asked for."""

    checkpoint: Checkpoint
    preset: Preset = CUSTOM
    given_prediction: Prediction | None = None

    @property
    def steps(self) -> int:
        return self.preset.steps

    @property
    def guidance(self) -> float:
        return self.preset.guidance

    @property
    def sampler(self) -> str:
        return self.preset.sampler

    def schedule_for(self, sampler: str | None) -> str | None:
        """The schedule where none is asked for; None: the sampler's own.

        The preset's is for the preset's sampler. A model trained down to zero signal has one sigma
        far above all others, so levels even in sigma would spend their steps where there is nothing
        to see: it takes steps that are even in time, whatever the sampler.
        """
        if sampler is None and self.preset.schedule:
            return self.preset.schedule
        return "trailing" if self.noise.get("zero_terminal_snr") else None

    @property
    def prediction(self) -> Prediction:
        """What the U-Net predicts: as told by the user, the files, the preset; else epsilon."""
        return self.given_prediction or self.checkpoint.prediction or self.preset.prediction

    @property
    def default_size(self) -> int:
        """Height and width in pixels of the pictures that the model was trained on."""
        size = self.checkpoint.settings.get("unet", {}).get("sample_size")
        if isinstance(size, int):
            return size * self.autoencoder_config.downsampling
        if self.preset is not CUSTOM:
            return self.preset.size
        if self.checkpoint.is_xl:
            return 1024
        return 768 if self.prediction == "v_prediction" else 512

    @property
    def noise(self) -> dict[str, Any]:
        """The training noise: the arguments of ``diffusion.schedules.training_sigmas``."""
        names = {
            "beta_start": "beta_start",
            "beta_end": "beta_end",
            "beta_schedule": "beta_schedule",
            "num_train_timesteps": "timesteps",
            "rescale_betas_zero_snr": "zero_terminal_snr",
        }
        settings = self.checkpoint.settings.get("scheduler", {})
        return {ours: settings[name] for name, ours in names.items() if name in settings}

    @property
    def zero_negative(self) -> bool:
        """Whether no negative prompt means zeros instead of the empty prompt, as XL was trained."""
        index = self.checkpoint.settings.get("index", {})
        return bool(index.get("force_zeros_for_empty_prompt", self.checkpoint.is_xl))

    @cached_property
    def pad_tokens(self) -> tuple[int, ...]:
        """The token that fills up a prompt, for each text encoder."""
        if self.checkpoint.is_xl:
            return self._pad_token("tokenizer", END_OF_TEXT), self._pad_token("tokenizer_2", 0)
        is_2 = self.checkpoint.unet_config().context_width == 1024
        return (self._pad_token("tokenizer", 0 if is_2 else END_OF_TEXT),)

    def _pad_token(self, folder: str, default: int) -> int:
        """As the folder's tokenizer says: "!" is token 0, which 2.x was trained with."""
        for file in ("special_tokens_map.json", "tokenizer_config.json"):
            token = read_json(self.checkpoint.path / folder / file).get("pad_token")
            token = token.get("content") if isinstance(token, dict) else token
            if token in ("!", "<|endoftext|>"):
                return 0 if token == "!" else END_OF_TEXT
        return default

    @cached_property
    def autoencoder_config(self) -> AutoencoderConfig:
        return self.checkpoint.autoencoder_config()

    def unet(self, dtype: Any = None) -> UNet:
        network = UNet(self.checkpoint.unet_config(), dtype)
        fill(network, self.checkpoint.parts["unet"])
        return network

    def text_encoder(self, dtype: Any = None) -> TextEncoder:
        return self._text_encoder("text_encoder", dtype)

    def text_encoder_2(self, dtype: Any = None) -> TextEncoder | None:
        """XL's second text encoder; None for other models."""
        return self._text_encoder("text_encoder_2", dtype) if self.checkpoint.is_xl else None

    def _text_encoder(self, part: str, dtype: Any) -> TextEncoder:
        network = TextEncoder(self.checkpoint.text_encoder_config(part), dtype, part)
        fill(network, self.checkpoint.parts[part])
        return network

    def decoder(self, dtype: Any = None) -> ImageDecoder:
        self.checkpoint.shapes("decoder")  # says so if the files lack it
        network = ImageDecoder(self.autoencoder_config, dtype, "decoder")
        fill(network, self.checkpoint.parts["decoder"])
        return network

    def image_encoder(self, dtype: Any = None) -> ImageEncoder:
        self.checkpoint.shapes("image_encoder")
        network = ImageEncoder(self.autoencoder_config, dtype, "image_encoder")
        fill(network, self.checkpoint.parts["image_encoder"])
        return network


def open_model(
    name: str | os.PathLike[str],
    *,
    prediction: Prediction | None = None,
    offline: bool | None = None,
) -> Model:
    """A model by preset, folder, file or Hub repository; its networks are made when asked for.

    Args:
        name: see ``checkpoints.hub.resolve``.
        prediction: what the U-Net predicts, where the files do not tell: 2.x in a single file.
        offline: never touch the network; default: as ``HF_HUB_OFFLINE`` says.
    """
    path, preset = resolve(name, offline)
    checkpoint = open_checkpoint(path, (preset or CUSTOM).variant or None)
    if preset and preset.shares:
        base = open_model(preset.shares).checkpoint
        checkpoint = replace(
            checkpoint,
            parts=base.parts | checkpoint.parts,
            settings=base.settings | checkpoint.settings,
        )
    return Model(checkpoint, preset or CUSTOM, prediction)
