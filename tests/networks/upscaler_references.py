"""Upscaling networks in PyTorch, after their papers, in the names of files as users have them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DenseBlock(nn.Module):
    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for k in range(1, 6):
            outputs = width if k == 5 else growth
            setattr(self, f"conv{k}", nn.Conv2d(width + (k - 1) * growth, outputs, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for k in range(1, 5):
            seen.append(F.leaky_relu(getattr(self, f"conv{k}")(torch.cat(seen, 1)), 0.2))
        return self.conv5(torch.cat(seen, 1)) * 0.2 + x


class RRDB(nn.Module):
    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(width, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.rdb3(self.rdb2(self.rdb1(x))) * 0.2 + x


class RRDBNet(nn.Module):
    """In the names of Real-ESRGAN; ``doublings`` other than 2 exist in the first layout alone."""

    def __init__(
        self, width: int, growth: int, blocks: int, doublings: int = 2, unshuffle: int = 1
    ) -> None:
        super().__init__()
        self.unshuffle, self.doublings = unshuffle, doublings
        self.conv_first = nn.Conv2d(3 * unshuffle**2, width, 3, 1, 1)
        self.body = nn.Sequential(*(RRDB(width, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(width, width, 3, 1, 1)
        for k in range(doublings):
            setattr(self, f"conv_up{k + 1}", nn.Conv2d(width, width, 3, 1, 1))
        self.conv_hr = nn.Conv2d(width, width, 3, 1, 1)
        self.conv_last = nn.Conv2d(width, 3, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_first(F.pixel_unshuffle(x, self.unshuffle))
        x = x + self.conv_body(self.body(x))
        for k in range(self.doublings):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = F.leaky_relu(getattr(self, f"conv_up{k + 1}")(x), 0.2)
        return self.conv_last(F.leaky_relu(self.conv_hr(x), 0.2))


class CompactNet(nn.Module):
    def __init__(self, width: int, convs: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1), nn.PReLU(width)]
        for _ in range(convs):
            layers += [nn.Conv2d(width, width, 3, 1, 1), nn.PReLU(width)]
        self.body = nn.ModuleList([*layers, nn.Conv2d(width, 3 * scale**2, 3, 1, 1)])

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.body:
            y = layer(y)
        return F.pixel_shuffle(y, self.scale) + F.interpolate(x, scale_factor=self.scale)


class RDN(nn.Module):
    """Zhang et al. 2018, enlarged by nearest neighbour, on pictures of 0..255; in our names."""

    def __init__(self, width: int, growth: int, blocks: int, layers: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.shallow = nn.ModuleList(
            [nn.Conv2d(3, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1)]
        )
        self.blocks = nn.ModuleList(RDB(width, growth, layers) for _ in range(blocks))
        self.fusion = nn.Conv2d(blocks * width, width, 1)
        self.conv_body = nn.Conv2d(width, width, 3, 1, 1)
        self.up = nn.Sequential(
            nn.Conv2d(width, width, 5, 1, 2),
            nn.Conv2d(width, width // 2, 3, 1, 1),
            nn.Conv2d(width // 2, 3 * scale**2, 3, 1, 1),
        )
        self.conv_last = nn.Conv2d(3 * scale**2, 3, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.shallow[0](x * 255)
        x, found = self.shallow[1](first), []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        x = first + self.conv_body(self.fusion(torch.cat(found, 1)))
        x = self.up[2](F.relu(self.up[1](F.relu(self.up[0](x)))))
        return self.conv_last(F.interpolate(x, scale_factor=self.scale)) / 255


class RDB(nn.Module):
    def __init__(self, width: int, growth: int, layers: int) -> None:
        super().__init__()
        convs = (nn.Conv2d(width + i * growth, growth, 3, 1, 1) for i in range(layers))
        self.convs = nn.ModuleList(convs)
        self.fusion = nn.Conv2d(width + layers * growth, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for conv in self.convs:
            seen.append(F.relu(conv(torch.cat(seen, 1))))
        return x + self.fusion(torch.cat(seen, 1))


def in_first_layout(state: dict[str, Tensor], doublings: int) -> dict[str, Tensor]:
    """The tensors of an ``RRDBNet`` as ESRGAN's first program numbered its layers."""
    blocks = len({name.split(".")[1] for name in state if name.startswith("body.")})
    places = {"conv_first": "model.0", "conv_body": f"model.1.sub.{blocks}"}
    places |= {f"conv_up{k + 1}": f"model.{3 * k + 3}" for k in range(doublings)}
    places |= {"conv_hr": f"model.{3 * doublings + 2}", "conv_last": f"model.{3 * doublings + 4}"}
    found = {}
    for name, tensor in state.items():
        layer, _, kind = name.rpartition(".")
        if layer.startswith("body."):
            _, block, dense, conv = layer.split(".")
            layer = f"model.1.sub.{block}.{dense.upper()}.{conv}.0"
        found[f"{places.get(layer, layer)}.{kind}"] = tensor
    return found


def in_second_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an ``RRDBNet`` in ESRGAN's names of 2019."""
    words = {
        "body.": "RRDB_trunk.",
        "conv_body": "trunk_conv",
        "conv_up": "upconv",
        "conv_hr": "HRconv",
        ".rdb": ".RDB",
    }
    found = {}
    for name, tensor in state.items():
        for ours, theirs in words.items():
            if name.startswith(ours) or ours.startswith("."):
                name = name.replace(ours, theirs)
        found[name] = tensor
    return found
