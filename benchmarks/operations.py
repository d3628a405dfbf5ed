"""The operations of a network, counted from its configuration: each one with its shape.

A multiplication with its addition is two operations. Only convolutions, matmuls and attention are
counted, as everyone does; norms and activations are listed (without operations), because time goes
there too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sfumato.networks.configs import AutoencoderConfig, UNetConfig

TOKENS = 77


class Operation(NamedTuple):
    """One operation of one sample.

    ``shape`` is of a convolution (height, width, channels in, channels out, stride), of attention
    (queries, keys, heads, head width), of a linear layer (rows, width in, width out), of a norm
    (positions, channels, groups; 0 groups: over the channels).
    """

    kind: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Multiplications and additions."""
        if self.kind == "convolution":
            height, width, width_in, width_out, stride = self.shape
            return 2 * 9 * (height // stride) * (width // stride) * width_in * width_out
        if self.kind == "attention":
            queries, keys, heads, head_width = self.shape
            return 4 * queries * keys * heads * head_width
        if self.kind == "linear":
            rows, width_in, width_out = self.shape
            return 2 * rows * width_in * width_out
        return 0


def total(operations: Iterable[Operation]) -> int:
    return sum(operation.count for operation in operations)


def tally(operations: Iterable[Operation]) -> Counter[Operation]:
    """Count how often each distinct operation occurs."""
    return Counter(operations)


def unet_operations(c: UNetConfig, height: int, width: int) -> Iterator[Operation]:
    """One evaluation of the denoiser for one sample of latents (height, width).

    The keys and values of the text are left out, since they are computed once per prompt.
    """
    time_width = 4 * c.channels[0]
    h, w = height, width
    sizes = []  # of the levels above
    yield Operation("convolution", (h, w, c.in_channels, c.channels[0], 1))
    yield Operation("linear", (1, c.channels[0], time_width))
    yield Operation("linear", (1, time_width, time_width))
    for part in c.parts():
        if part.kind == "resnets":
            yield from resnet_operations(h, w, part.width_in, part.width, c.groups, time_width)
        elif part.kind == "attentions":
            yield from transformer_operations(h * w, part.width, part.heads, part.depth, c.groups)
        elif part.kind == "downsamplers":
            yield Operation("convolution", (h, w, part.width, part.width, 2))
            sizes.append((h, w))
            h, w = -(-h // 2), -(-w // 2)
        else:
            h, w = sizes.pop()
            yield Operation("convolution", (h, w, part.width, part.width, 1))
    yield Operation("norm", (h * w, c.channels[0], c.groups))
    yield Operation("convolution", (h, w, c.channels[0], c.out_channels, 1))


def resnet_operations(
    h: int, w: int, width_in: int, width: int, groups: int, time_width: int = 0
) -> Iterator[Operation]:
    yield Operation("norm", (h * w, width_in, groups))
    yield Operation("convolution", (h, w, width_in, width, 1))
    if time_width:
        yield Operation("linear", (1, time_width, width))
    yield Operation("norm", (h * w, width, groups))
    yield Operation("convolution", (h, w, width, width, 1))
    if width_in != width:
        yield Operation("linear", (h * w, width_in, width))


def transformer_operations(
    tokens: int, width: int, heads: int, depth: int, groups: int
) -> Iterator[Operation]:
    head_width = width // heads
    yield Operation("norm", (tokens, width, groups))
    yield Operation("linear", (tokens, width, width))
    for _ in range(depth):
        yield Operation("norm", (tokens, width, 0))
        yield Operation("linear", (tokens, width, 3 * width))
        yield Operation("attention", (tokens, tokens, heads, head_width))
        yield Operation("linear", (tokens, width, width))
        yield Operation("norm", (tokens, width, 0))
        yield Operation("linear", (tokens, width, width))
        yield Operation("attention", (tokens, TOKENS, heads, head_width))
        yield Operation("linear", (tokens, width, width))
        yield Operation("norm", (tokens, width, 0))
        yield Operation("linear", (tokens, width, 8 * width))
        yield Operation("linear", (tokens, 4 * width, width))
    yield Operation("linear", (tokens, width, width))


def decoder_operations(c: AutoencoderConfig, height: int, width: int) -> Iterator[Operation]:
    """Decoding one picture from latents (height, width)."""
    h, w, top = height, width, c.channels[-1]
    yield Operation("linear", (h * w, c.latent_channels, c.latent_channels))
    yield Operation("convolution", (h, w, c.latent_channels, top, 1))
    yield from resnet_operations(h, w, top, top, c.groups)
    yield Operation("norm", (h * w, top, c.groups))
    yield Operation("linear", (h * w, top, 3 * top))
    yield Operation("attention", (h * w, h * w, 1, top))
    yield Operation("linear", (h * w, top, top))
    yield from resnet_operations(h, w, top, top, c.groups)
    below = top
    for i, channels in enumerate(c.channels[::-1]):
        for _ in range(c.layers + 1):
            yield from resnet_operations(h, w, below, channels, c.groups)
            below = channels
        if i < len(c.channels) - 1:
            h, w = 2 * h, 2 * w
            yield Operation("convolution", (h, w, channels, channels, 1))
    yield Operation("norm", (h * w, c.channels[0], c.groups))
    yield Operation("convolution", (h, w, c.channels[0], 3, 1))
