"""T2I-Adapters: a picture's features on the way down a U (Mou et al. 2023, arXiv 2302.08453)."""

from __future__ import annotations

import keras
from keras import ops

from sfumato.kernels import Tensor
from sfumato.networks.configs import T2IAdapterConfig
from sfumato.networks.layers import Conv3x3, linear
from sfumato.networks.network import Block, Network


class AdapterResnet(Block):
    def __init__(self, width: int, is_light: bool) -> None:
        super().__init__()
        self.block1 = Conv3x3(width, width)
        self.block2 = Conv3x3(width, width) if is_light else linear(width, width)

    def call(self, x: Tensor) -> Tensor:
        return x + self.block2(ops.relu(self.block1(x)))


class AdapterLevel(Block):
    def __init__(self, width_in: int, width: int, count: int, is_light: bool) -> None:
        super().__init__()
        inner = width // 4 if is_light else width
        if width_in != inner:
            self.in_conv = linear(width_in, inner)
        self.resnets = [AdapterResnet(inner, is_light) for _ in range(count)]
        if is_light:
            self.out_conv = linear(inner, width)

    def call(self, x: Tensor) -> Tensor:
        """x (B, H, W, C) -> (B, H, W, F)"""
        x = self.in_conv(x) if hasattr(self, "in_conv") else x
        for resnet in self.resnets:
            x = resnet(x)
        return self.out_conv(x) if hasattr(self, "out_conv") else x


@keras.saving.register_keras_serializable("sfumato")
class T2IAdapter(Network):
    """A picture -> what is added on the way down a U-Net, the same at all steps; channels last."""

    config: T2IAdapterConfig

    def compose(self, config: T2IAdapterConfig) -> None:
        c = config
        width = c.channels * c.scale**2
        if not c.is_light:
            self.conv_in = Conv3x3(width, c.widths[0])
            width = c.widths[0]
        self.body: list[AdapterLevel] = []
        for out in c.widths:
            self.body.append(AdapterLevel(width, out, c.count, c.is_light))
            width = out

    def see(self, hint: Tensor) -> list[Tensor]:
        """hint (B, H, W, 3) of 0..1 -> maps (B, h, w, C), the largest first"""
        if self.config.channels == 1:
            hint = ops.mean(hint, axis=-1, keepdims=True)
        x = folded(hint, self.config.scale)
        x = x if self.config.is_light else self.conv_in(x)
        found = []
        for level, halves in zip(self.body, self.config.halves, strict=True):
            x = level(halved(x) if halves else x)
            found.append(x)
        return found

    def call(self, hint: Tensor) -> list[Tensor]:
        return self.see(hint)


def grown(x: Tensor, multiple: int) -> Tensor:
    """x (B, H, W, C) with its last row and column repeated up to multiples of a number."""
    for axis in (1, 2):
        if missing := -x.shape[axis] % multiple:
            edge = x[:, -1:] if axis == 1 else x[:, :, -1:]
            x = ops.concatenate([x, *[edge] * missing], axis=axis)
    return x


def folded(x: Tensor, scale: int) -> Tensor:
    """The pixels of each square as channels: (B, H, W, C) -> (B, H / s, W / s, C s s)."""
    x = grown(x, scale)
    _, H, W, C = x.shape
    x = ops.reshape(x, (-1, H // scale, scale, W // scale, scale, C))
    x = ops.transpose(x, (0, 1, 3, 5, 2, 4))
    return ops.reshape(x, (-1, H // scale, W // scale, C * scale**2))


def halved(x: Tensor) -> Tensor:
    """The means of 2x2 positions, and of fewer at an edge: (B, H, W, C) -> (B, h, w, C)."""
    x = grown(x, 2)
    _, H, W, C = x.shape
    return ops.mean(ops.reshape(x, (-1, H // 2, 2, W // 2, 2, C)), axis=(2, 4))
