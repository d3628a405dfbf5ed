"""Any file or folder of Stable Diffusion weights as one thing: parts, architecture, training."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sfumato.checkpoints import architecture, fitting, layout
from sfumato.checkpoints.tensors import CheckpointError, Tensors
from sfumato.networks.configs import (
    OPENCLIP_BIGG,
    REFINER_SIZES,
    SIZES,
    AutoencoderConfig,
    TextEncoderConfig,
    TinyAutoencoderConfig,
    UNetConfig,
)
from sfumato.presets.families import Family, Prediction, find_family

SPECIAL = {
    1: "made for pictures with a depth map (depth2img)",
    3: "an upscaler",
}
"""Kinds of U-Nets by the input channels that they have beyond the latents."""


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a model's networks by native name, mapped from its files.

    ``parts`` has "unet", "text_encoder", "text_encoder_2" (XL), "image_encoder" and "decoder", as
    far as the files hold them; ``fill`` takes them. ``settings`` has the JSON of a diffusers folder
    under "unet", "vae", "text_encoder", "text_encoder_2", "scheduler" and "index"; "image_encoder"
    and "decoder" come before "vae" where these are another autoencoder's.
    """

    path: Path
    parts: dict[str, Tensors]
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    prediction: Prediction | None = None
    """The kind of the U-Net's answer, where the files say it; 2.x in a single file does not."""

    @cached_property
    def family(self) -> Family:
        """The row of 1.x, 2.x or XL: everything that its models share and no file says."""
        unet = self._unet_config if "unet" in self.parts else UNetConfig()
        sizes = unet.added_width > 0 or "text_encoder_2" in self.parts
        return find_family(unet.context_width, sizes, self.refines)

    @cached_property
    def refines(self) -> bool:
        """Whether the U-Net is the refiner of XL, which reads one text encoder, not two."""
        unet = self.parts.get("unet", {})
        if "add_embedding.linear_1.weight" not in unet:
            return False
        if "text_encoder" in self.parts:
            return "text_encoder_2" not in self.parts
        widths = {x.shape[-1] for name, x in unet.items() if name.endswith("attn2.to_k.weight")}
        return widths == {OPENCLIP_BIGG.width}

    def unet_config(self) -> UNetConfig:
        """Of the U-Net; CheckpointError if it does not fit the text encoders' output."""
        config = self._unet_config
        last = "text_encoder" if self.refines else "text_encoder_2"
        if config.added_width and last in self.parts:
            text = self.text_encoder_config(last)
            added_width = (text.projection or text.width) + config.sizes * config.size_embedding
            if added_width != config.added_width:
                raise CheckpointError(
                    f"The U-Net of `{self.path}` must take {added_width} numbers: the pooled text "
                    f"of the last text encoder and {config.sizes} sizes, each as "
                    f"{config.size_embedding} (`addition_time_embed_dim`). It takes "
                    f"{config.added_width}."
                )
        return config

    @cached_property
    def _unet_config(self) -> UNetConfig:
        sizes = REFINER_SIZES if self.refines else SIZES
        return architecture.unet_config(self.shapes("unet"), self.settings.get("unet"), sizes)

    def autoencoder_config(
        self, half: str | None = None
    ) -> AutoencoderConfig | TinyAutoencoderConfig:
        """Of the autoencoder, read from the shapes of the decoder where there is one."""
        part = half or ("decoder" if "decoder" in self.parts else "image_encoder")
        said = self.settings.get(part, self.settings.get("vae", {}))
        settings = {"scaling_factor": self.family.scaling_factor} | said
        return architecture.autoencoder_config(self.shapes(part), settings)

    def text_encoder_config(self, part: str = "text_encoder") -> TextEncoderConfig:
        """Of "text_encoder" or "text_encoder_2"."""
        settings, penultimate = self.settings.get(part), self.family.penultimate
        return architecture.text_encoder_config(self.shapes(part), settings, penultimate)

    def check(self) -> None:
        """Refuse parts that do not fit one another, or a network; reads no weights.

        Raises:
            CheckpointError: says what is missing, unexpected or of another shape.
        """
        if "unet" in self.parts:
            self._check_unet(self.unet_config())
        for part in self.parts:
            shapes = {name: fitting.as_stored(shape) for name, shape in self._layout(part)}
            fitting.check(shapes, self.parts[part], f"{part} of `{self.path}`")
            if part.startswith("text_encoder"):
                self._check_length(part)

    def _check_length(self, part: str) -> None:
        """Refuse a tokenizer that makes shorter rows than its text encoder reads."""
        length = self.text_encoder_config(part).length
        settings = self.settings.get(part.replace("text_encoder", "tokenizer"), {})
        said = settings.get("model_max_length", length)
        if isinstance(said, (int, float)) and said < length:
            raise CheckpointError(
                f"`model_max_length` must be {length}, as the positions of the {part} of "
                f"`{self.path}`. Received: model_max_length={said}"
            )

    def _layout(self, part: str) -> layout.Layout:
        """The tensors that a part must have."""
        if part == "unet":
            return layout.unet(self.unet_config())
        if part.startswith("text_encoder"):
            return layout.text_encoder(self.text_encoder_config(part))
        c = self.autoencoder_config(part)
        if isinstance(c, TinyAutoencoderConfig):
            return layout.tiny_decoder(c) if part == "decoder" else layout.tiny_image_encoder(c)
        return layout.decoder(c) if part == "decoder" else layout.image_encoder(c)

    def _check_unet(self, c: UNetConfig) -> None:
        """Refuse a U-Net that wants other inputs than latents, a mask, a picture and text."""
        said = self.settings.get("index", {}).get("requires_aesthetics_score")
        if said not in (None, self.refines):
            raise CheckpointError(
                f"`requires_aesthetics_score` must be {self.refines}, as the U-Net of "
                f"`{self.path}` has it. Received: requires_aesthetics_score={said!r}"
            )
        halves = [part for part in ("decoder", "image_encoder") if part in self.parts]
        latents = {self.autoencoder_config(half).latent_channels for half in halves}
        count = next(iter(latents), c.out_channels)
        if c.out_channels != count or c.in_channels not in (count, 2 * count, 2 * count + 1):
            what = SPECIAL.get(c.in_channels - count, "made for something else")
            raise CheckpointError(
                f"The U-Net of `{self.path}` is {what}, which cannot be used. It must have {count} "
                f"input channels, {2 * count} to edit pictures, or {2 * count + 1} to see masks, "
                f"and {count} output channels. It has {c.in_channels} and {c.out_channels}."
            )

    def shapes(self, part: str) -> architecture.Shapes:
        """The shapes of a part's tensors; CheckpointError if the files do not hold this part."""
        if part not in self.parts:
            held = ", ".join(self.parts)
            raise CheckpointError(f"`{self.path}` holds no {part}. It holds: {held}.")
        return architecture.shapes_of(self.parts[part])
