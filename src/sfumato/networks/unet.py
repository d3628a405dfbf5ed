"""The denoiser: a U-Net whose levels attend to the text (Rombach et al. 2021, arXiv 2112.10752)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any

import keras
from keras import ops

from sfumato.kernels import Tensor
from sfumato.networks.configs import UNetConfig, UNetPart
from sfumato.networks.denoiser import Aids, Conditioning, Memory, Prediction
from sfumato.networks.freeu import balanced
from sfumato.networks.layers import (
    Around,
    Conv3x3,
    Downsample,
    ResnetBlock,
    TimestepEmbedding,
    Transformer,
    Upsample,
    activate,
    group_norm,
    guidance_embedding,
    repeated,
    timestep_embedding,
)
from sfumato.networks.merging import TokenMerging
from sfumato.networks.network import Block, Network
from sfumato.networks.perturbation import Perturbation


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
        merging: TokenMerging | None,
        freeu: Tensor | None,
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


@keras.saving.register_keras_serializable("sfumato")
class UNet(Network):
    """latents, time and text -> the prediction of the model (epsilon, v or x0), channels last.

    While denoising, ``prepare`` runs once per prompt and ``predict`` at every evaluation. ``call``
    takes everything at once.
    """

    config: UNetConfig

    def compose(self, config: UNetConfig) -> None:
        c = config
        time_width = 4 * c.channels[0]

        def level(parts: list[UNetPart]) -> UNetLevel:
            resnets = [
                ResnetBlock(part.width_in, part.width, c.groups, 1e-5, time_width)
                for part in parts
                if part.kind == "resnets"
            ]
            transformers = {
                part.index: Transformer(
                    part.width, c.context_width, part.heads, part.depth, c.groups
                )
                for part in parts
                if part.kind == "attentions"
            }
            made = UNetLevel(resnets, [transformers.get(index) for index in range(len(resnets))])
            made.downsamplers = [Downsample(p.width) for p in parts if p.kind == "downsamplers"]
            made.upsamplers = [Upsample(p.width) for p in parts if p.kind == "upsamplers"]
            return made

        levels = {
            name: level(list(parts)) for name, parts in groupby(c.parts(), attrgetter("level"))
        }

        self.conv_in = Conv3x3(c.in_channels, c.channels[0])
        self.time_embedding = TimestepEmbedding(c.channels[0], time_width, c.guidance_embedding)
        if c.added_width:
            self.add_embedding = TimestepEmbedding(c.added_width, time_width)

        self.down_blocks = [level for name, level in levels.items() if name.startswith("down")]
        if c.mid:
            self.mid_block = levels["mid_block"]
        self.up_blocks = [level for name, level in levels.items() if name.startswith("up")]

        self.conv_norm_out = group_norm(c.channels[0], c.groups, 1e-5)
        self.conv_out = Conv3x3(c.channels[0], c.out_channels)

    @property
    def takes_sizes(self) -> bool:
        """Whether ``prepare`` takes pooled text and sizes, as XL's does."""
        return self.config.added_width > 0

    def levels(self) -> list[UNetLevel]:
        """All levels in the order in which the data passes them."""
        middle = [self.mid_block] if self.config.mid else []
        return [*self.down_blocks, *middle, *self.up_blocks]

    def token_merging(self, ratio: float, height: int, width: int) -> TokenMerging:
        """Token merging for latents of this size, where most tokens attend to one another."""
        for down, up in zip(self.config.down, self.config.up[::-1], strict=True):
            if any(down + up):
                break
            height, width = -(-height // 2), -(-width // 2)
        return TokenMerging(ratio, height, width)

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

    def predict(
        self,
        x: Tensor,
        timestep: Tensor,
        conditioning: Conditioning,
        aids: Aids = Aids(),  # noqa: B008  it is frozen
        *,
        keep: bool = False,
        token_merging: float = 0.0,
    ) -> Prediction:
        """Predict what the noise hides.

        Args:
            x: latents (B, h, w, C), scaled for the network. Questions about x that differ in the
                text alone are the conditioning's (n B, ...): they are one until they meet it.
            timestep: () of the training, or its sinusoids (B or 1, C).
            conditioning: of ``prepare``.
            aids: the inputs of a network for inpainting (mask and known latents) or editing
                (latents of the picture), the guidance for one that takes it, the factors of FreeU,
                and the deep features of an earlier evaluation (Ma et al. 2023,
                arXiv 2312.00858): the deep part is then left out.
            keep: give out the deep features.
            token_merging: the part of the tokens that are merged where self-attention has the most.
        """
        shifts = self.embed_time(timestep, conditioning.added, aids.guidance)
        memories = conditioning.memories
        merging = self.token_merging(token_merging, *x.shape[1:3]) if token_merging else None
        *_, last = self.up_blocks[-1]

        # In
        if aids.channels is not None:
            x = ops.concatenate([repeated(x, aids.channels), aids.channels], axis=-1)
        first = self.conv_in(x)  # (B, h, w, C)

        # Down, middle and up, unless that is known
        deep = aids.deep
        if deep is None:
            walk = Walk(shifts, memories, merging, aids.freeu)
            deep = self.deep_part(first, walk, conditioning.attending)  # (n B, h, w, C)

        # Out
        count = len(last[1].transformer_blocks) if last[1] else 0
        walk = Walk(shifts[-1:], memories[len(memories) - count :], merging, aids.freeu)
        x = walk(walk.joined(deep, first, len(self.up_blocks) - 1), *last)
        answer = self.conv_out(activate(self.conv_norm_out, x))  # (n B, h, w, C)
        return Prediction(answer, deep if keep else None)

    def deep_part(self, first: Tensor, walk: Walk, attending: Tensor | None) -> Tensor:
        """All but the outermost layers: (B, h, w, C) of ``conv_in`` -> (n B, h, w, C)."""
        # Down
        x, skips = first, [first]
        for level in self.down_blocks:
            for block in level:
                x = walk(x, *block)
                skips.append(x)
            for downsample in level.downsamplers:
                x = downsample(x)
                skips.append(x)

        # Middle
        around = None if attending is None else Perturbation(attending)
        x = x if attending is None else repeated(x, attending)
        for block in self.mid_block if self.config.mid else ():
            x = walk(x, *block, around)

        # Up, without the last block
        for i, level in enumerate(self.up_blocks):
            for block in level.blocks[: -1 if level is self.up_blocks[-1] else None]:
                x = walk(walk.joined(x, skips.pop(), i), *block)
            for upsample in level.upsamplers:
                x = upsample(x, skips[-1])
        return x

    def call(self, inputs: Any) -> Tensor:
        """Predict from everything at once, for training and for use of the network by itself.

        Args:
            inputs: a dict or a list of ``latent`` (B, h, w, C), ``timestep_embedding`` (B, C),
                ``context`` (B, T, C) and, for XL, ``added`` (B, A).
        """
        if isinstance(inputs, dict):
            names = ("latent", "timestep_embedding", "context", "added")
            inputs = [inputs[name] for name in names if name in inputs]
        latent, waves, context, *added = inputs
        conditioning = Conditioning(self.prepare(context).memories, *added)
        return self.predict(latent, waves, conditioning).answer
