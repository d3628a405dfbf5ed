"""PyTorch: when programs are traced, that it makes no difference, and how kernels are stored."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from sfumato import programs, runtime
from sfumato.checkpoints import filling, save
from sfumato.networks.autoencoder import ImageDecoder
from sfumato.networks.configs import AutoencoderConfig, UNetConfig
from sfumato.networks.unet import UNet

pytestmark = pytest.mark.backend("torch")

SMALL = UNetConfig(
    channels=(16, 32),
    down=((1,), (0,)),
    mid=(1, 0),
    up=((0, 0), (1, 1)),
    heads=(2, 2),
    context_width=16,
    groups=8,
)


def test_a_program_is_traced_when_that_pays_and_gives_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sfumato.runtime.torch.EAGER", 2)
    network = ImageDecoder(AutoencoderConfig(channels=(8, 16), layers=1, groups=4))
    network.initialize(0)
    program = runtime.compile(partial(programs.decode, network), [network], True)
    x = np.random.default_rng(0).random((1, 8, 6, 4), "float32")
    pictures = []
    for call in range(4):
        pictures.append(program(x)[0].numpy())
        assert len(program.graphs) == (call >= 2)
    assert len({picture.tobytes() for picture in pictures}) == 1
    assert len(np.unique(pictures[0])) > 10
    program(x[:, :4])
    assert len(program.graphs) == 1  # another shape is counted by itself


def test_kernels_lie_in_memory_as_convolutions_read_them() -> None:
    drawn, filled = UNet(SMALL), UNet(SMALL)
    drawn.initialize(seed=1)
    filling.fill(filled, save.export(drawn))
    for network in (drawn, filled):
        kernels = [v.value for v in network.variables if v.name == "kernel"]
        assert len(kernels) > 30
        assert all(kernel.movedim(-1, 0).is_contiguous() for kernel in kernels)
    for one, other in zip(drawn.variables, filled.variables, strict=True):
        assert (one.value == other.value).all()
