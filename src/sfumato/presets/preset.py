"""A preset: a model by name, the files that make it, and how it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sfumato.presets.families import Factors, Prediction

TOKENIZER = ("merges.txt", "special_tokens_map.json", "tokenizer_config.json", "vocab.json")
WEIGHTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
"""A model's parts, and the file of each one's weights without its ending."""
SD = ("unet", "vae", "text_encoder")
XL = (*SD, "text_encoder_2")


@dataclass(frozen=True)
class Preset:
    """A model by name, and how to use it if the user does not say."""

    name: str
    description: str
    repository: str = ""
    """On the Hugging Face Hub; empty: the weights are part of this package."""
    revision: str = "main"
    file: str = ""
    """The one file of the repository that is the model; empty: it is a folder of diffusers."""
    base: str = ""
    """The preset that ``file`` is a LoRA for; empty: ``file`` is a model."""
    parts: tuple[str, ...] = SD
    variant: str = "fp16"
    size: int = 512
    steps: int = 25
    guidance: float = 7.5
    sampler: str = "dpmpp_2m"
    schedule: str | None = None
    """None: the sampler's own."""
    timesteps: tuple[int, ...] = ()
    """In place of a schedule: those that a model of few steps was trained for."""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Of the sampler, such as eta."""
    prediction: Prediction | None = None
    """Of the denoiser, where the files do not say it; None: they do, or it is the family's."""
    aliases: tuple[str, ...] = ()
    license: str = "CreativeML Open RAIL-M"
    shares: str = ""
    """The bundled preset whose networks complete this one's."""
    preview_factors: Factors | None = None
    """Latents to colours, where the autoencoder is not the family's."""
    page: str = ""
    """The page of the documentation that lists what a bundled model draws."""

    @property
    def folder(self) -> Path | None:
        """The folder of a bundled model; None for a model of the Hub."""
        return None if self.repository else Path(__file__).parent / self.name

    @cached_property
    def known_words(self) -> frozenset[str] | None:
        """All words that a bundled model has learnt, in lower case; None: nobody listed them."""
        if not self.page or not self.folder:
            return None
        file = self.folder.with_name(self.shares or self.name) / "words.txt"
        return frozenset(file.read_text("utf-8").split())

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the repository that make the model, at its preferred variant."""
        if self.file:
            return (self.file,)
        encoders = [part for part in self.parts if part.startswith("text_encoder")]
        tokenizers = [part.replace("text_encoder", "tokenizer") for part in encoders]
        ending = f"{self.variant}.safetensors" if self.variant else "safetensors"
        return (
            "model_index.json",
            "scheduler/scheduler_config.json",
            *(f"{folder}/{file}" for folder in tokenizers for file in TOKENIZER),
            *(f"{part}/config.json" for part in self.parts),
            *(f"{part}/{WEIGHTS[part]}.{ending}" for part in self.parts),
        )
