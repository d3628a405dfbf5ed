"""The denoiser: a U-Net whose levels attend to the text (Rombach et al. 2021, arXiv 2112.10752)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from keras import ops

from sfumato.kernels import Tensor
from sfumato.networks.configs import UNetConfig
from sfumato.networks.layers import (
    Conv3x3,
    Downsample,
    ResnetBlock,
    TimestepEmbedding,
    Transformer,
    Upsample,
    activate,
    group_norm,
    repeated,
)
from sfumato.networks.merging import TokenMerging
from sfumato.networks.network import Block, Network

Text = tuple[Tensor, Tensor]


def beside(x: Tensor, skip: Tensor) -> Tensor:
    """x (n B, H, W, C) and a skip connection (B or n B, H, W, D) -> (n B, H, W, C + D)."""
    return ops.concatenate([x, repeated(skip, x)], axis=-1)


class Level(Block):
    """The parts of one level of the U; the network walks through them itself."""

    def __init__(self, resnets: list[ResnetBlock], attentions: list[Transformer | None]) -> None:
        super().__init__()
        self.resnets = resnets
        self.attentions = attentions
        self.downsamplers: list[Downsample] = []
        self.upsamplers: list[Upsample] = []

    def __iter__(self) -> Iterator[tuple[ResnetBlock, Transformer | None]]:
        return zip(self.resnets, self.attentions, strict=True)


class UNet(Network):
    """latents, time and text -> what the model predicts (epsilon, v or x0), all channels last.

    ``call`` takes everything at once. While denoising, ``embed_text`` runs once per prompt,
    ``embed_time`` once per step, and ``denoise`` does the rest by ``conv_in``, ``deepen`` and
    ``finish``.
    """

    config: UNetConfig

    def compose(self, config: UNetConfig) -> None:
        c = config
        time_width = 4 * c.channels[0]
        top = c.channels[-1]

        def resnet(width_in: int, width: int) -> ResnetBlock:
            return ResnetBlock(width_in, width, c.groups, 1e-5, time_width)

        def transformer(width: int, heads: int, depth: int) -> Transformer | None:
            return Transformer(width, c.context_width, heads, depth, c.groups) if depth else None

        self.conv_in = Conv3x3(c.in_channels, c.channels[0])
        self.time_embedding = TimestepEmbedding(c.channels[0], time_width)
        if c.added_width:
            self.add_embedding = TimestepEmbedding(c.added_width, time_width)

        skips = [c.channels[0]]
        self.down_blocks = []
        for width, heads, depths in zip(c.channels, c.heads, c.down, strict=True):
            widths_in = [skips[-1]] + [width] * (len(depths) - 1)
            level = Level(
                [resnet(width_in, width) for width_in in widths_in],
                [transformer(width, heads, depth) for depth in depths],
            )
            skips += [width] * len(depths)
            if len(self.down_blocks) < len(c.channels) - 1:
                level.downsamplers = [Downsample(width)]
                skips.append(width)
            self.down_blocks.append(level)

        if c.mid:
            self.mid_block = Level(
                [resnet(top, top) for _ in c.mid],
                [transformer(top, c.heads[-1], depth) for depth in c.mid],
            )

        self.up_blocks = []
        below = top
        for width, heads, depths in zip(c.channels[::-1], c.heads[::-1], c.up, strict=True):
            widths_in = [below] + [width] * (len(depths) - 1)
            level = Level(
                [resnet(width_in + skips.pop(), width) for width_in in widths_in],
                [transformer(width, heads, depth) for depth in depths],
            )
            if len(self.up_blocks) < len(c.channels) - 1:
                level.upsamplers = [Upsample(width)]
            self.up_blocks.append(level)
            below = width

        self.conv_norm_out = group_norm(c.channels[0], c.groups, 1e-5)
        self.conv_out = Conv3x3(c.channels[0], c.out_channels)

    def levels(self) -> list[Level]:
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

    def embed_text(self, context: Tensor) -> list[Text]:
        """context (B, T, C) -> keys and values (B, T, N, D) of every cross-attention layer."""
        return [
            block.attn2.embed(context)
            for level in self.levels()
            for _, transformer in level
            if transformer
            for block in transformer.transformer_blocks
        ]

    def embed_time(self, embedding: Tensor, added: Tensor | None = None) -> list[Tensor]:
        """Sinusoids (B or 1, C) and XL's added conditioning (B, A) -> a shift (B or 1, 1, 1, C)
        for every residual block."""
        time = self.time_embedding(embedding)
        if added is not None:
            time = time + self.add_embedding(added)
        time = ops.silu(time)
        return [
            resnet.time_emb_proj(time)[:, None, None, :]
            for level in self.levels()
            for resnet, _ in level
        ]

    def denoise(self, x: Tensor, shifts: list[Tensor], texts: list[Text]) -> Tensor:
        """latents (B, h, w, C) -> prediction (n B, h, w, C), for texts (n B, ...)."""
        first = self.conv_in(x)
        return self.finish(first, self.deepen(first, shifts, texts), shifts, texts)

    def deepen(
        self,
        first: Tensor,
        shifts: list[Tensor],
        texts: list[Text],
        merging: TokenMerging | None = None,
    ) -> Tensor:
        """The whole U but its two ends, the first convolution and the last block.

        Args:
            first: (B, h, w, C) of ``conv_in``.
            shifts, texts: of ``embed_time`` and ``embed_text``, for the same batch or for n B.
            merging: how self-attention is abridged, or None.

        Returns:
            What the last block takes beside ``first``, (n B, h, w, C).
        """
        shift, text = iter(shifts), iter(texts)

        def block(x: Tensor, resnet: ResnetBlock, transformer: Transformer | None) -> Tensor:
            time = next(shift)
            x = resnet(repeated(x, time), time)
            if transformer:
                texts = list(islice(text, len(transformer.transformer_blocks)))
                x = transformer(x, texts, merging=merging)
            return x

        x = first
        skips = [first]
        for level in self.down_blocks:
            for parts in level:
                x = block(x, *parts)
                skips.append(x)
            for downsample in level.downsamplers:
                x = downsample(x)
                skips.append(x)

        for parts in self.mid_block if self.config.mid else ():
            x = block(x, *parts)

        for level in self.up_blocks:
            for parts in level:
                if len(skips) == 1:  # `first`, which the last block takes
                    break
                x = block(beside(x, skips.pop()), *parts)
            for upsample in level.upsamplers:
                _, height, width, _ = skips[-1].shape
                x = upsample(x, height=height, width=width)
        return x

    def finish(
        self,
        first: Tensor,
        deep: Tensor,
        shifts: list[Tensor],
        texts: list[Text],
        merging: TokenMerging | None = None,
    ) -> Tensor:
        """The last block and what follows: ``first`` and what ``deepen`` gave -> prediction."""
        resnet, transformer = list(self.up_blocks[-1])[-1]
        x = resnet(beside(deep, first), shifts[-1])
        if transformer:
            x = transformer(x, texts[-len(transformer.transformer_blocks) :], merging=merging)
        return self.conv_out(activate(self.conv_norm_out, x))

    def call(self, inputs: Any) -> Tensor:
        """Everything at once, for training and for use of the network by itself.

        Args:
            inputs: a dict or a list of ``latent`` (B, h, w, C), ``timestep_embedding`` (B, C),
                ``context`` (B, T, C) and, for XL, ``added`` (B, A).
        """
        if isinstance(inputs, dict):
            inputs = [
                inputs[name]
                for name in ("latent", "timestep_embedding", "context", "added")
                if name in inputs
            ]
        latent, embedding, context, *added = inputs
        return self.denoise(latent, self.embed_time(embedding, *added), self.embed_text(context))
