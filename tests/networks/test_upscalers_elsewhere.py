"""Upscaling networks on the other backends, compiled as they are used, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import upscaler_references as references

from sfumato.checkpoints.upscalers import read_upscaler
from sfumato.upscaling import Upscaler

pytestmark = pytest.mark.backend("tensorflow", "torch", "openvino")


@pytest.mark.parametrize(
    "reference",
    [
        lambda: references.RRDBNet(8, 4, 1, unshuffle=2),
        lambda: references.CompactNet(8, 1, 2),
        lambda: references.RDN(8, 4, 1, 1, 2),
    ],
    ids=["rrdb", "compact", "rdn"],
)
def test_a_network_is_the_published_one(reference, tmp_path):
    torch.manual_seed(0)
    network = reference()
    with torch.no_grad():
        last = [*network.parameters()][-1]
        last.fill_(127.5 if isinstance(network, references.RDN) else 0.5)
    torch.save(network.state_dict(), tmp_path / "x.pth")
    upscaler = Upscaler(read_upscaler(tmp_path / "x.pth"))

    x = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    m = upscaler.margin  # on a reflection of itself, as the picture is given to the network
    given = np.pad(x, ((m, m), (m, m), (0, 0)), "reflect")
    with torch.no_grad():
        y = network(torch.from_numpy(given / np.float32(255)).permute(2, 0, 1)[None])[0]
    expected = 255 * y.permute(1, 2, 0).numpy()[2 * m : -2 * m, 2 * m : -2 * m]
    assert np.abs(upscaler(x, 2) - expected.clip(0, 255)).max() <= 0.51
