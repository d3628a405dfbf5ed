"""The names of layers in files of adapters -> the native names, from a model's configurations.

All dialects say the native or CompVis' name of a layer, with dots or with underscores in their
place, behind a prefix for the network. Joining with underscores cannot be undone by splitting, so
the names are looked up in a table that the layouts of the networks make.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from sfumato.checkpoints import layout
from sfumato.checkpoints.compvis import unet_names
from sfumato.networks.configs import OPENCLIP_H, TextEncoderConfig, UNetConfig
from sfumato.presets.families import FAMILIES, Family

Shape = tuple[int, ...]

PREFIXES = (
    ("lora_unet_", "unet"),
    ("oft_unet_", "unet"),
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("lora_te_", "text_encoder"),
    ("lycoris_", "unet"),
    ("unet.", "unet"),
    ("diffusion_model.", "unet"),
    ("text_encoder.", "text_encoder"),
    ("text_encoder_2.", "text_encoder_2"),
    ("text_encoders.clip_l.transformer.", "text_encoder"),
    ("text_encoders.clip_h.transformer.", "text_encoder"),
    ("text_encoders.clip_g.transformer.", "text_encoder_2"),
    ("", "unet"),
    ("", "text_encoder"),
)
"""The beginnings of names, and the network that each stands for; the first that fits counts."""

TEXT_ALIASES = {f"{part}_proj": f"to_{part}" for part in "qkv"} | {"out_proj": "to_out.0"}
"""Native names of text encoders' layers -> those of diffusers' old attention processors."""


@dataclass(frozen=True)
class Layer:
    """A layer that an adapter may change."""

    part: str
    """The checkpoint's name of its network."""
    name: str
    """Its native name."""
    shape: Shape
    """Of its weight, in PyTorch's order; linear layers are (O, I)."""
    has_bias: bool
    is_used: bool = True
    """Whether the network has it; the last layer of OpenCLIP-H is in files all the same."""


@dataclass(frozen=True)
class Networks:
    """The networks that an adapter may change, by their configurations."""

    unet: UNetConfig
    text_encoder: TextEncoderConfig | None = None
    text_encoder_2: TextEncoderConfig | None = None

    @property
    def family(self) -> Family | None:
        """The family by the width of the text; None: of no published model."""
        return family_of(self.unet.context_width)

    def find(self, name: str) -> Layer | None:
        """The layer of a name in any dialect; None: no network has it."""
        for prefix, part in PREFIXES:
            if name.startswith(prefix):
                rest = name.removeprefix(prefix).replace(".", "_")
                if found := self._layers[part].get(rest):
                    return found
        return None

    def has(self, place: str) -> bool:
        """Whether this is a network, "unet" or "text", or the native name of a layer or block."""
        layers = (layer for found in self._layers.values() for layer in found.values())
        named = any(f"{layer.name}.".startswith(f"{place}.") for layer in layers)
        return named or place in ("text", *self._layers)

    @cached_property
    def _layers(self) -> Mapping[str, Mapping[str, Layer]]:
        """The layers of each network by their names with underscores."""
        compvis = {native: name for name, native in unet_names(self.unet).items()}
        unet: dict[str, Layer] = {}
        for layer in _layers("unet", layout.unet(self.unet)):
            for name in (layer.name, compvis[layer.name]):
                unet[name.replace(".", "_")] = layer
        texts = {part: _text_layers(part, c) for part, c in self.text_encoders().items()}
        return {"unet": unet, "text_encoder": {}, "text_encoder_2": {}} | texts

    def text_encoders(self) -> dict[str, TextEncoderConfig]:
        """The configurations of the text encoders that there are."""
        both = {"text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2}
        return {part: config for part, config in both.items() if config}

    def indexed(self, part: str, gates: bool = True) -> list[str]:
        """The native names of the linear layers that cloneofsimo's files number, in their order.

        They are those of the attentions and, but in its first files, the gates. The order is that
        of the modules of diffusers and transformers in 2022: the middle of the U comes last, the
        gate between the attentions, and the queries of the text encoder behind its values.
        """
        if part != "unet":
            config = self.text_encoders().get(part)
            return [
                f"encoder.layers.{i}.self_attn.{layer}_proj"
                for i in range(config.layers if config else 0)
                for layer in ("k", "v", "q", "out")
            ]
        parts = [each for each in self.unet.parts() if each.kind == "attentions"]
        parts.sort(key=lambda each: each.level == "mid_block")
        attention = ("to_q", "to_k", "to_v", "to_out.0")
        layers = [f"attn1.{x}" for x in attention] + gates * ["ff.net.0.proj"]
        layers += [f"attn2.{x}" for x in attention]
        return [
            f"{each.name}.transformer_blocks.{block}.{layer}"
            for each in parts
            for block in range(each.depth)
            for layer in layers
        ]


def family_of(context_width: int) -> Family | None:
    """The family of U-Nets that attend to a text of this width; None: there is none."""
    return next((each for each in FAMILIES if each.context_width == context_width), None)


def _layers(part: str, tensors: layout.Layout) -> Iterator[Layer]:
    """The layers with these tensors."""
    shapes = dict(tensors)
    for key, shape in shapes.items():
        name, _, leaf = key.rpartition(".")
        if leaf == "weight":
            yield Layer(part, name, shape, f"{name}.bias" in shapes)


def _text_layers(part: str, config: TextEncoderConfig) -> dict[str, Layer]:
    """The layers of a text encoder by their names, with and without that of the model."""
    found: dict[str, Layer] = {}
    count = config.layers
    if (config.width, count) == (OPENCLIP_H.width, OPENCLIP_H.layers):
        config = replace(config, layers=count + 1)  # whose last layer no model of 2.x uses
    for layer in _layers(part, layout.text_encoder(config)):
        if layer.name.startswith(f"encoder.layers.{count}."):
            layer = replace(layer, is_used=False)
        stem, _, leaf = layer.name.rpartition(".")
        for name in (layer.name, f"{stem}.{TEXT_ALIASES.get(leaf, leaf)}"):
            for prefix in ("", "text_model."):
                found[(prefix + name).replace(".", "_")] = layer
    return found
