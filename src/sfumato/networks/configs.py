"""The configurations of the networks, and the one walk of the U that all its names come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Activation = Literal["quick_gelu", "gelu"]

START_OF_TEXT, END_OF_TEXT = 49406, 49407
"""The tokens of CLIP's vocabulary that begin and end a prompt."""

SIZES = 6
"""Numbers that XL takes: height and width of the original, the crop's place, and its size."""
REFINER_SIZES = 5
"""Numbers that XL's refiner takes: the same, with a score of beauty in place of the last two."""

RESNET = ("norm1", "conv1", "time_emb_proj", "norm2", "conv2")
TRANSFORMER_BLOCK = (
    *("norm1", "attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0"),
    *("norm2", "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"),
    *("norm3", "ff.net.0.proj", "ff.net.2"),
)


@dataclass(frozen=True)
class UNetPart:
    """One part of the U: a residual block, a transformer or a change of size."""

    kind: Literal["resnets", "attentions", "downsamplers", "upsamplers"]
    level: str
    """``down_blocks.0``, ``mid_block``, ``up_blocks.0`` and so on."""
    index: int
    """Among the parts of its kind and level."""
    compvis: str
    """Its place in CompVis' names, such as ``input_blocks.4.1``."""
    width_in: int
    """The skip connection included."""
    width: int
    heads: int = 0
    depth: int = 0
    """The number of its transformer blocks."""

    @property
    def name(self) -> str:
        """Its place in the native names, such as ``down_blocks.1.attentions.0``."""
        return f"{self.level}.{self.kind}.{self.index}"

    def layers(self) -> Iterator[str]:
        """The names of its layers within it, in the order in which the data passes them."""
        if self.kind == "resnets":
            yield from RESNET
            if self.width_in != self.width:
                yield "conv_shortcut"
        elif self.kind == "attentions":
            yield from ("norm", "proj_in")
            for block in range(self.depth):
                yield from (f"transformer_blocks.{block}.{layer}" for layer in TRANSFORMER_BLOCK)
            yield "proj_out"
        else:
            yield "conv"


@dataclass(frozen=True)
class UNetConfig:
    """The denoiser. The defaults are Stable Diffusion 1.x.

    ``down``, ``mid`` and ``up`` say for every residual block how many transformer blocks follow
    it (0: none), so pruned networks need no switches: an empty ``mid`` is a missing middle block.
    """

    in_channels: int = 4
    out_channels: int = 4
    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    down: tuple[tuple[int, ...], ...] = ((1, 1), (1, 1), (1, 1), (0, 0))
    mid: tuple[int, ...] = (1, 0)
    up: tuple[tuple[int, ...], ...] = ((0, 0, 0), (1, 1, 1), (1, 1, 1), (1, 1, 1))
    heads: tuple[int, ...] = (8, 8, 8, 8)
    context_width: int = 768
    added_width: int = 0
    """Width of the added conditioning of XL (pooled text, sizes and crop); 0: none."""
    sizes: int = SIZES
    """The numbers in the added conditioning, next to the pooled text."""
    size_embedding: int = 256
    """Width of the sinusoids for each of them."""
    guidance_embedding: int = 0
    """Width of the sinusoids of the guidance as an input of the network; 0: it takes none."""
    groups: int = 32
    linear_projection: bool = False
    """Whether files have ``proj_in`` and ``proj_out`` as linear layers, not as 1x1 convolutions."""

    def __post_init__(self) -> None:
        sides = (self.down, self.up, self.heads)
        skips = len(self.channels) + sum(map(len, self.down))
        if (
            any(len(side) != len(self.channels) for side in sides)
            or not all((self.channels, *self.down, *self.up))
            or sum(map(len, self.up)) != skips
        ):
            raise ValueError(
                "`down`, `up` and `heads` must have an item for each of `channels`, and `up` a "
                f"block for each skip connection. Received: channels={self.channels}, "
                f"heads={self.heads}, down={self.down}, up={self.up}"
            )
        if self.added_width and self.added_width <= self.sizes * self.size_embedding:
            raise ValueError(
                f"`added_width` must be larger than {self.sizes} times `size_embedding`. Received: "
                f"added_width={self.added_width}, size_embedding={self.size_embedding}"
            )

    def parts(self) -> Iterator[UNetPart]:
        """The U from end to end, in the order in which the data passes it.

        Its two ends are left out: the first and the last convolution, and what embeds the time.
        The network, its names in every format and the count of its operations come from here.
        """
        width, bottom = self.channels[0], len(self.channels) - 1
        skips = [width]  # one for each of CompVis' input blocks, the first convolution included

        for i, depths in enumerate(self.down):
            level = f"down_blocks.{i}"
            for index, depth in enumerate(depths):
                place = f"input_blocks.{len(skips)}"
                yield from self._block(level, index, place, 0, width, i, depth)
                width = self.channels[i]
                skips.append(width)
            if i < bottom:
                place = f"input_blocks.{len(skips)}.0"
                yield UNetPart("downsamplers", level, 0, place, width, width)
                skips.append(width)

        number = 0
        for index, depth in enumerate(self.mid):
            yield from self._block("mid_block", index, "middle_block", number, width, bottom, depth)
            number += 2 if depth else 1

        number = 0
        for i, depths in enumerate(self.up):
            level = f"up_blocks.{i}"
            for index, depth in enumerate(depths):
                place, width_in = f"output_blocks.{number}", width + skips.pop()
                yield from self._block(level, index, place, 0, width_in, bottom - i, depth)
                width = self.channels[bottom - i]
                number += 1
            if i < bottom:
                place = f"output_blocks.{number - 1}.{2 if depths[-1] else 1}"
                yield UNetPart("upsamplers", level, 0, place, width, width)

    def _block(
        self, level: str, index: int, compvis: str, number: int, width_in: int, i: int, depth: int
    ) -> Iterator[UNetPart]:
        """A residual block and the transformer behind it, if there is one."""
        width, heads = self.channels[i], self.heads[i]
        yield UNetPart("resnets", level, index, f"{compvis}.{number}", width_in, width)
        if depth:
            place = f"{compvis}.{number + 1}"
            yield UNetPart("attentions", level, index, place, width, width, heads, depth)


@dataclass(frozen=True)
class ControlNetConfig(UNetConfig):
    """A ControlNet: the way into a U, and what takes in its picture. ``up`` is not computed."""

    hint_channels: int = 3
    """Of the picture that it is shown."""
    hint_widths: tuple[int, ...] = (16, 32, 96, 256)
    """Of the convolutions that bring the picture to the size of the latents."""
    is_global: bool = False
    """Whether the means of its features are added, not the features: it tells no places."""
    mixer_layers: int = 0
    """Of a ControlNet-Union, which reads the kind of its picture as well; 0: it is none."""

    def parts(self) -> Iterator[UNetPart]:
        """The U from its beginning through its middle."""
        return (part for part in super().parts() if not part.level.startswith("up"))

    @property
    def hint_scale(self) -> int:
        """Pixels of the picture per latent along one side."""
        return 2 ** (len(self.hint_widths) - 1)

    def skips(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """The shapes (h, w, C) of the skip connections, for latents of a size."""
        found = [(height, width, self.channels[0])]
        for part in self.parts():
            if part.kind == "downsamplers":
                height, width = -(-height // 2), -(-width // 2)
            if part.level.startswith("down") and part.kind != "attentions":
                found.append((height, width, part.width))
        return found


@dataclass(frozen=True)
class T2IAdapterConfig:
    """A T2I-Adapter, which brings a picture to the maps of a U-Net's way down."""

    channels: int = 3
    """Of the picture; 1: of its greys."""
    scale: int = 8
    """Pixels along a side of the squares that are folded into channels."""
    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    halves: tuple[bool, ...] = (False, True, True, True)
    """Whether a level begins with a map of half the size."""
    count: int = 2
    """Residual blocks of a level."""
    is_light: bool = False
    """Whether the blocks have a quarter of the width."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """Picture to latents and back. The defaults are those of Stable Diffusion 1.x, 2.x and XL."""

    channels: tuple[int, ...] = (128, 256, 512, 512)
    layers: int = 2
    latent_channels: int = 4
    groups: int = 32
    scaling_factor: float = 0.18215
    latents_mean: tuple[float, ...] = ()
    """Of each channel of the unscaled latents, where the denoiser has them without it."""
    latents_std: tuple[float, ...] = ()

    @property
    def downsampling(self) -> int:
        """Pixels per latent along one side."""
        return 2 ** (len(self.channels) - 1)


TINY_ENCODER = ("conv", "block", *3 * ("half", "block", "block", "block"), "conv")
TINY_DECODER = ("conv", "relu", *3 * ("block", "block", "block", "", "double"), "block", "conv")
"""The layers of a tiny autoencoder, at the numbers that they have in a file."""


@dataclass(frozen=True)
class TinyAutoencoderConfig:
    """The same, tiny: TAESD and its kin. The defaults are those for 1.x, 2.x and XL."""

    width: int = 64
    latent_channels: int = 4
    scaling_factor: float = 1.0
    """It reads and writes the denoiser's own latents."""

    @property
    def downsampling(self) -> int:
        """Pixels per latent along one side."""
        return 8


@dataclass(frozen=True)
class TextEncoderConfig:
    """The CLIP text transformer. The defaults are CLIP-L, the encoder of 1.x."""

    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    activation: Activation = "quick_gelu"
    vocabulary: int = 49408
    length: int = 77
    projection: int = 0
    """Width of the pooled output's projection; 0: no projection is stored."""
    penultimate: bool = False
    """Give the last but one layer's output without the final norm, as XL uses it."""
    end_of_text: int = END_OF_TEXT
    """The token at which the pooled output is taken."""


CLIP_L = TextEncoderConfig()
OPENCLIP_H = TextEncoderConfig(1024, 23, 16, 4096, "gelu")
OPENCLIP_BIGG = TextEncoderConfig(1280, 32, 20, 5120, "gelu", projection=1280, penultimate=True)
