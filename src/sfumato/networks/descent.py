"""The way into a U: its down path and its middle, which denoisers and ControlNets share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from keras import ops

from sfumato.kernels import Tensor
from sfumato.networks.configs import UNetConfig, UNetPart
from sfumato.networks.denoiser import Conditioning, Memory
from sfumato.networks.freeu import balanced
from sfumato.networks.layers import (
    Around,
    Conv3x3,
    Downsample,
    ResnetBlock,
    TimestepEmbedding,
    Transformer,
    Upsample,
    guidance_embedding,
    repeated,
    timestep_embedding,
)
from sfumato.networks.merging import TokenMerging
from sfumato.networks.network import Block, Network


def summed(x: Tensor, other: Tensor) -> Tensor:
    """x + other, of which one may be of more questions: (B, ...) and (n B, ...) -> (n B, ...)."""
    return repeated(x, other) + ops.cast(repeated(other, x), x.dtype)


class UNetLevel(Block):
    """The blocks of one level of the U; the network walks through them itself."""

    def __init__(self, resnets: list[ResnetBlock], attentions: list[Transformer | None]) -> None:
        super().__init__()
        self.resnets = resnets
        self.attentions = attentions
        self.downsamplers: list[Downsample] = []
        self.upsamplers: list[Upsample] = []

    @property
    def blocks(self) -> list[tuple[ResnetBlock, Transformer | None]]:
        return list(zip(self.resnets, self.attentions, strict=True))

    def __iter__(self) -> Iterator[tuple[ResnetBlock, Transformer | None]]:
        return iter(self.blocks)


class Walk:
    """A walk through blocks of the U: each takes the next shift and the next memories."""

    def __init__(
        self,
        shifts: list[Tensor],
        memories: list[list[Memory]],
        merging: TokenMerging | None = None,
        freeu: Tensor | None = None,
    ) -> None:
        self.shifts = iter(shifts)
        self.memories = iter(memories)
        self.merging = merging
        self.freeu = freeu

    def joined(self, x: Tensor, skip: Tensor, level: int) -> Tensor:
        """x (n B, H, W, C) and a skip connection (B or n B, H, W, D) -> (n B, H, W, C + D)."""
        if self.freeu is not None:
            x, skip = balanced(x, skip, self.freeu, level)
        return ops.concatenate([x, repeated(skip, x)], axis=-1)

    def __call__(
        self,
        x: Tensor,
        resnet: ResnetBlock,
        transformer: Transformer | None,
        around: Around | None = None,
    ) -> Tensor:
        """x (B or n B, H, W, C) -> (n B, H, W, C)"""
        shift = next(self.shifts)
        x = resnet(repeated(x, shift), shift)
        if transformer is None:
            return x
        memories = [next(self.memories) for _ in transformer.transformer_blocks]
        return transformer(x, memories, around=around or self.merging)


class Descent(Network):
    """What embeds latents, time and text, and takes them down to the middle of the U."""

    config: UNetConfig

    def compose(self, config: UNetConfig) -> None:
        c = config
        time_width = 4 * c.channels[0]
        self.conv_in = Conv3x3(c.in_channels, c.channels[0])
        self.time_embedding = TimestepEmbedding(c.channels[0], time_width, c.guidance_embedding)
        if c.added_width:
            self.add_embedding = TimestepEmbedding(c.added_width, time_width)
        self.down_blocks = self.levels_of("down")
        if c.mid:
            [self.mid_block] = self.levels_of("mid")

    def levels_of(self, side: str) -> list[UNetLevel]:
        """New levels of one side of the U: "down", "mid" or "up"."""
        parts = (part for part in self.config.parts() if part.level.startswith(side))
        return [self._level(list(level)) for _, level in groupby(parts, attrgetter("level"))]

    def _level(self, parts: list[UNetPart]) -> UNetLevel:
        c = self.config
        time_width = 4 * c.channels[0]
        resnets = [
            ResnetBlock(part.width_in, part.width, c.groups, 1e-5, time_width)
            for part in parts
            if part.kind == "resnets"
        ]
        transformers = {
            part.index: Transformer(part.width, c.context_width, part.heads, part.depth, c.groups)
            for part in parts
            if part.kind == "attentions"
        }
        made = UNetLevel(resnets, [transformers.get(index) for index in range(len(resnets))])
        made.downsamplers = [Downsample(p.width) for p in parts if p.kind == "downsamplers"]
        made.upsamplers = [Upsample(p.width) for p in parts if p.kind == "upsamplers"]
        return made

    @property
    def takes_sizes(self) -> bool:
        """Whether ``prepare`` takes pooled text and sizes, as XL's does."""
        return self.config.added_width > 0

    def levels(self) -> list[UNetLevel]:
        """All levels in the order in which the data passes them."""
        return [*self.down_blocks, *([self.mid_block] if self.config.mid else [])]

    def prepare(
        self, context: Tensor, pooled: Tensor | None = None, sizes: Tensor | None = None
    ) -> Conditioning:
        """Do once what is the same at all evaluations.

        Args:
            context: (B, T, C) of the text encoders.
            pooled: (B, P) of the text encoders, for XL.
            sizes: (B, 6) for XL: height, width, crop and target of the picture in pixels.
        """
        memories = [
            [Memory(*block.attn2.embed(context))]
            for level in self.levels()
            for _, transformer in level
            if transformer
            for block in transformer.transformer_blocks
        ]
        if sizes is None:
            return Conditioning(memories)
        count, width = sizes.shape[1], self.config.size_embedding
        waves = timestep_embedding(ops.reshape(sizes, (-1,)), width)  # (B * 6, width)
        waves = ops.reshape(waves, (-1, count * width))
        return Conditioning(memories, ops.concatenate([pooled, waves], axis=-1))

    def embed_time(
        self, timestep: Tensor, added: Tensor | None = None, guidance: Tensor | None = None
    ) -> list[Tensor]:
        """The shift (B or 1, 1, 1, C) of every residual block.

        Args:
            timestep: () of the training, or its sinusoids (B or 1, C).
            added: (B, A) of ``prepare``, for XL.
            guidance: () less 1, for networks that take it.
        """
        is_scalar = len(timestep.shape) == 0
        waves = timestep
        if is_scalar:
            waves = timestep_embedding(timestep[None], self.config.channels[0])
        if guidance is not None:
            guidance = guidance_embedding(guidance, self.config.guidance_embedding)
        time = self.time_embedding(waves, guidance)  # (B or 1, C)
        if added is not None:
            time = time + self.add_embedding(added)
        time = ops.silu(time)
        return [
            resnet.time_emb_proj(time)[:, None, None, :]
            for level in self.levels()
            for resnet, _ in level
        ]

    def down(
        self, first: Tensor, walk: Walk, features: Sequence[Tensor] = ()
    ) -> tuple[Tensor, list[Tensor]]:
        """(B, h, w, C) of ``conv_in`` -> what goes to the middle, and the skip connections.

        A level's feature is added where its attention has passed, or, where there is none, at its
        end.
        """
        x, skips = first, [first]
        waiting = iter(features)
        for level in self.down_blocks:
            is_early = any(level.attentions) or not level.downsamplers
            feature = next(waiting, None)
            for block in level:
                x = walk(x, *block)
                skips.append(x)
            if feature is not None and is_early:
                x = skips[-1] = summed(x, feature)
            for downsample in level.downsamplers:
                x = downsample(x)
                skips.append(x)
            if feature is not None and not is_early:
                x = skips[-1] = summed(x, feature)
        return x, skips

    def middle(self, x: Tensor, walk: Walk, around: Around | None = None) -> Tensor:
        for block in self.mid_block if self.config.mid else ():
            x = walk(x, *block, around)
        return x
