"""A model: a checkpoint, the settings that suit it, and its networks on demand."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sfumato.checkpoints.checkpoint import Checkpoint
from sfumato.checkpoints.filling import fill
from sfumato.checkpoints.tensors import CheckpointError
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.configs import AutoencoderConfig, TinyAutoencoderConfig
from sfumato.networks.network import Network
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet
from sfumato.presets import Preset, public_name
from sfumato.presets.families import Family, Prediction

CUSTOM = Preset("", "A model of no preset", variant="")
PLAYGROUND = replace(CUSTOM, guidance=3.0)
"""How Playground 2.5 is used, by its card; no other model has its deviation of the data."""
EDM_NOISE = ("sigma_min", "sigma_max", "sigma_data")
CONSISTENT = replace(CUSTOM, steps=4, guidance=8.0, sampler="lcm")
"""How a latent consistency model of no preset is used (Luo et al. 2023, arXiv 2310.04378)."""


@dataclass(frozen=True)
class Model:
    """A model's files, its settings, and its networks, which are made when they are asked for."""

    checkpoint: Checkpoint
    preset: Preset = CUSTOM
    given_prediction: Prediction | None = None
    name: str = ""
    """Of the preset or the repository as the user gave it; of a path the last part, as the rest
    says who made a picture."""
    given_decoder: str | None = None
    """The autoencoder in place of its own: "tiny", a path or a repository."""
    lora: Path | None = None
    """The file of a LoRA that is part of the model, as of a preset with a base."""

    @property
    def family(self) -> Family:
        """The row of 1.x, 2.x or XL: everything that its models share and no file says."""
        return self.checkpoint.family

    @cached_property
    def use(self) -> Preset:
        """How the model is used: as its preset says, or as its network shows."""
        if self.preset != CUSTOM:
            return self.preset
        if self.noise.get("sigma_data") == 0.5:
            return PLAYGROUND
        return CONSISTENT if self.embeds_guidance else self.preset

    @cached_property
    def embeds_guidance(self) -> bool:
        """Whether the U-Net takes the guidance as an input, as latent consistency models do."""
        has_unet = "unet" in self.checkpoint.parts
        return has_unet and self.checkpoint.unet_config().guidance_embedding > 0

    @property
    def steps(self) -> int:
        return self.use.steps

    @property
    def guidance(self) -> float:
        return self.use.guidance

    @property
    def sampler(self) -> str:
        return self.use.sampler

    def schedule_for(self, sampler: str | None) -> str | None:
        """The schedule where none is asked for; None: the sampler's own.

        The preset's is for the preset's sampler. A model trained down to zero signal has one sigma
        far above all others, so levels even in sigma would spend their steps where there is nothing
        to see: it takes steps that are even in time, whatever the sampler. One of EDM takes the
        levels that its files name.
        """
        if sampler is None and self.preset.schedule:
            return self.preset.schedule
        if "sigma_data" in self.noise:
            return self.checkpoint.settings["scheduler"]["sigma_schedule"]
        return "trailing" if self.noise.get("zero_terminal_snr") else None

    @property
    def prediction(self) -> Prediction:
        """The kind of the U-Net's answer: the user's word, the preset's, the files', or epsilon."""
        known = self.given_prediction or self.preset.prediction or self.checkpoint.prediction
        return known or "epsilon"

    @property
    def default_size(self) -> int:
        """Height and width in pixels of the pictures that the model was trained on."""
        size = self.checkpoint.settings.get("unet", {}).get("sample_size")
        if isinstance(size, int):
            return size * self.autoencoder_config.downsampling
        if self.preset is not CUSTOM:
            return self.preset.size
        return self.family.v_size if self.prediction == "v_prediction" else self.family.size

    @property
    def noise(self) -> dict[str, Any]:
        """The training noise: the arguments of ``diffusion.schedules.training_sigmas``.

        Of a model of EDM those of ``edm_sigmas``, and ``sigma_data``.
        """
        names = {
            "beta_start": "beta_start",
            "beta_end": "beta_end",
            "beta_schedule": "beta_schedule",
            "num_train_timesteps": "timesteps",
            "rescale_betas_zero_snr": "zero_terminal_snr",
        }
        settings = self.checkpoint.settings.get("scheduler", {})
        if "sigma_data" in settings:
            return {name: float(settings[name]) for name in EDM_NOISE}
        return {ours: settings[name] for name, ours in names.items() if name in settings}

    @property
    def zero_negative(self) -> bool:
        """Whether no negative prompt means zeros instead of the empty prompt, as XL was trained."""
        index = self.checkpoint.settings.get("index", {})
        return bool(index.get("force_zeros_for_empty_prompt", self.family.zero_negative))

    @property
    def pad_tokens(self) -> tuple[int, ...]:
        """The token that fills up a prompt, for each text encoder, where no folder names it."""
        return self.family.pad_tokens

    def check_words(self, encoder: str, words: int) -> None:
        """Compare the words of a tokenizer with the embeddings of its text encoder.

        Raises:
            CheckpointError: there are words without an embedding. Embeddings without a word are
                usual after padding, and lost placeholder tokens: they are warned of.
        """
        rows = self.checkpoint.text_encoder_config(encoder).vocabulary
        counts = f"{rows} embeddings in {encoder} and {words} tokens in its tokenizer"
        if rows < words:
            raise CheckpointError(
                f"Every token must have an embedding. Received: {counts} (`{self.checkpoint.path}`)"
            )
        if rows > words:
            warnings.warn(
                f"There are {counts}. If tokens were added, the tokenizer has lost them",
                stacklevel=2,
            )

    @cached_property
    def autoencoder_config(self) -> AutoencoderConfig | TinyAutoencoderConfig:
        return self.checkpoint.autoencoder_config()

    @property
    def decoder_name(self) -> str | None:
        """The name of the autoencoder in place of its own, as ``name`` is the model's."""
        return self.given_decoder and public_name(self.given_decoder)

    @cached_property
    def preview_factors(self) -> np.ndarray | None:
        """Latents to colours (C + 1, 3), for ``latents_to_rgb``; None: not known."""
        config = self.autoencoder_config
        usual = replace(config, scaling_factor=type(config).scaling_factor)
        own = self.family.preview_factors if usual == type(config)() else ()
        factors = self.preset.preview_factors or own
        fits = len(factors) == config.latent_channels + 1
        return np.array(factors, "float32") if fits else None

    @cached_property
    def sees_masks(self) -> bool:
        """Whether the U-Net was trained for inpainting and has inputs for what is known."""
        latent_channels = self.autoencoder_config.latent_channels
        return self.checkpoint.unet_config().in_channels == 2 * latent_channels + 1

    @cached_property
    def edits_pictures(self) -> bool:
        """Whether the U-Net is shown a picture, to change it as the words say (InstructPix2Pix)."""
        latent_channels = self.autoencoder_config.latent_channels
        return self.checkpoint.unet_config().in_channels == 2 * latent_channels

    @property
    def shown_scale(self) -> float:
        """What latents are divided by for a U-Net that is shown them; CosXL's sees them as is."""
        c = self.autoencoder_config
        if "sigma_data" in self.noise:
            return 1.0
        return c.scaling_factor if isinstance(c, AutoencoderConfig) else self.family.scaling_factor

    def sizes(self, height: int, width: int, negative: bool = False) -> tuple[float, ...]:
        """The numbers of a picture that XL's U-Net reads: its size, twice, or a score of beauty."""
        scores = self.family.scores
        return (height, width, 0, 0, *((height, width) if scores is None else (scores[negative],)))

    def unet(self, dtype: Any = None) -> UNet:
        network = UNet(self.checkpoint.unet_config(), dtype)
        fill(network, self.checkpoint.parts["unet"])
        return network

    def text_encoder(self, dtype: Any = None) -> TextEncoder:
        return self._text_encoder("text_encoder", dtype)

    def text_encoder_2(self, dtype: Any = None) -> TextEncoder | None:
        """XL's second text encoder; None for other models."""
        has_two = self.family.text_encoders == 2
        return self._text_encoder("text_encoder_2", dtype) if has_two else None

    def _text_encoder(self, part: str, dtype: Any) -> TextEncoder:
        network = TextEncoder(self.checkpoint.text_encoder_config(part), dtype, part)
        fill(network, self.checkpoint.parts[part])
        return network

    def decoder(self, dtype: Any = None) -> Network:
        """An ``ImageDecoder`` or a ``TinyImageDecoder``."""
        return self._half("decoder", ImageDecoder, dtype)

    def image_encoder(self, dtype: Any = None) -> Network:
        """An ``ImageEncoder`` or a ``TinyImageEncoder``."""
        return self._half("image_encoder", ImageEncoder, dtype)

    def _half(self, half: str, kind: type[Network], dtype: Any) -> Network:
        config = self.checkpoint.autoencoder_config(half)  # says so if the files lack it
        if isinstance(config, TinyAutoencoderConfig):
            from sfumato.networks.tiny import TinyImageDecoder, TinyImageEncoder

            kind = TinyImageDecoder if half == "decoder" else TinyImageEncoder
        network = kind(config, dtype, half)
        fill(network, self.checkpoint.parts[half])
        return network
