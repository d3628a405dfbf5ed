"""Upscaling networks from files, against the published architectures in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import upscaler_references as references
from keras import ops
from upscaler_references import in_first_layout, in_second_layout

from sfumato.checkpoints import CheckpointError
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.checkpoints.upscalers import read_upscaler
from sfumato.networks.network import Network
from sfumato.networks.upscalers import RDN, CompactConfig, CompactNet, RDNConfig, RRDBConfig

State = dict[str, torch.Tensor]
NETWORKS: dict[str, tuple[Callable[[], torch.nn.Module], Any, int]] = {
    "rrdb x4": (lambda: references.RRDBNet(8, 4, 2), RRDBConfig(8, 4, 2), 4),
    "rrdb x2": (
        lambda: references.RRDBNet(8, 4, 1, unshuffle=2),
        RRDBConfig(8, 4, 1, unshuffle=2),
        2,
    ),
    "rrdb x1": (
        lambda: references.RRDBNet(8, 4, 1, unshuffle=4),
        RRDBConfig(8, 4, 1, unshuffle=4),
        1,
    ),
    "compact x4": (lambda: references.CompactNet(8, 3, 4), CompactConfig(8, 3, 4), 4),
    "compact x2": (lambda: references.CompactNet(6, 1, 2), CompactConfig(6, 1, 2), 2),
    "rdn": (lambda: references.RDN(8, 4, 3, 2, 3), RDNConfig(8, 4, 3, 2, 3), 3),
}


def agree(network: Network, reference: torch.nn.Module) -> None:
    x = np.random.default_rng(0).random((1, 8, 12, 3), "float32")
    with torch.no_grad():
        expected = reference(torch.from_numpy(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    found = ops.convert_to_numpy(network(x))
    assert found.shape == expected.shape
    scale = np.abs(expected).max()  # networks of random weights do not give 0..1
    np.testing.assert_allclose(found, expected, atol=1e-4 * scale)


@pytest.fixture(params=NETWORKS)
def made(request: pytest.FixtureRequest) -> tuple[torch.nn.Module, Any, int]:
    torch.manual_seed(0)
    make, config, scale = NETWORKS[request.param]
    reference = make()
    for name, weight in reference.named_parameters():
        if weight.ndim == 1 and "bias" not in name:  # of PReLU, which all start alike
            torch.nn.init.uniform_(weight, -0.5, 0.5)
    return reference, config, scale


def test_a_network_in_its_usual_names_is_the_published_one(made, tmp_path):
    reference, config, scale = made
    torch.save({"params": {}, "params_ema": reference.state_dict()}, tmp_path / "x.pth")
    network = read_upscaler(tmp_path / "x.pth")
    assert network.config == config
    assert network.config.scale == scale
    agree(network, reference)


@pytest.mark.parametrize("doublings", [0, 1, 2, 3])
def test_the_first_layout(doublings, tmp_path):
    torch.manual_seed(1)
    reference = references.RRDBNet(8, 4, 2, doublings)
    state = in_first_layout(reference.state_dict(), doublings)
    write_safetensors(tmp_path / "x.safetensors", {k: v.numpy() for k, v in state.items()})
    network = read_upscaler(tmp_path / "x.safetensors")
    assert network.config == RRDBConfig(8, 4, 2, doublings)
    agree(network, reference)


@pytest.mark.parametrize("prefix", ["", "module.", "netG."])
def test_the_second_layout_bare_and_as_trainings_wrap_it(prefix, tmp_path):
    reference = references.RRDBNet(8, 4, 1)
    state = in_second_layout(reference.state_dict())
    assert "RRDB_trunk.0.RDB1.conv1.weight" in state
    torch.save({prefix + name: tensor for name, tensor in state.items()}, tmp_path / "x.pth")
    agree(read_upscaler(tmp_path / "x.pth"), reference)


def test_half_precision(tmp_path):
    reference = references.CompactNet(8, 2, 2).half()
    torch.save(reference.state_dict(), tmp_path / "x.pth")
    agree(read_upscaler(tmp_path / "x.pth"), reference.float())


def changed(change: Callable[[State], Any]) -> State:
    state = references.RRDBNet(8, 4, 1).state_dict()
    change(state)
    return state


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"lora_unet_x.lora_down.weight": torch.zeros(1)}, "holds a LoRA"),
        ({"body.0.0.weight": torch.zeros(1)}, "an upscaler of another kind; .* RRDBNet"),
        ({"first.weight": torch.zeros(1)}, "first.weight"),
        (changed(lambda s: s.pop("conv_hr.bias")), "missing: conv_hr.bias"),
        (changed(lambda s: s.update({"extra": torch.zeros(1)})), "unexpected: extra"),
        (changed(lambda s: s.update({"conv_first.weight": torch.zeros(8)})), "conv_first"),
        (
            changed(lambda s: s.update({"conv_first.weight": torch.zeros(8, 7, 3, 3)})),
            "7 channels",
        ),
        (
            changed(lambda s: s.update({"conv_last.weight": torch.zeros(1, 8, 3, 3)})),
            "misshapen: conv_last.weight",
        ),
        (changed(lambda s: s.update({"conv_hr.weight": torch.zeros(0, 8, 3, 3)})), "shape"),
        ({f"body.{i}.rdb1.conv1.weight": torch.zeros(1) for i in range(5000)}, "5000 tensors"),
    ],
)
def test_other_files_are_refused_by_name(state, says, tmp_path):
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=f"other.pth.*{says}"):
        read_upscaler(tmp_path / "other.pth")


def test_a_file_of_another_ending_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"must end in .safetensors, .*picture.png"):
        read_upscaler(tmp_path / "picture.png")
    with pytest.raises(FileNotFoundError):
        read_upscaler(tmp_path / "none.pth")


@pytest.mark.parametrize("config", [RDNConfig(4, 4, 2, 1, 2), CompactConfig(4, 3, 2)])
def test_reach_is_how_far_a_network_sees(config):
    network = (RDN if isinstance(config, RDNConfig) else CompactNet)(config)
    network.initialize(0)
    middle = config.reach + 2
    x = np.random.default_rng(0).random((1, 3, 2 * middle + 1, 3), "float32")
    other = x.copy()
    other[0, 1, middle] += 1
    difference = np.abs(ops.convert_to_numpy(network(x)) - ops.convert_to_numpy(network(other)))
    seen = np.flatnonzero(difference.max(axis=(0, 1, 3))) // config.scale
    assert middle - config.reach <= seen.min() <= middle - config.reach + 1
